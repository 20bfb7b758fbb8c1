"""Hospitals that have joined a federation by the commands' own functions: kit, key, admission."""

from __future__ import annotations

from pathlib import Path

from client.enroll import enroll
from server.kit import Kit
from server.members import admit


def hospital(kit: Kit, name: str) -> Path:
    """Where :func:`joined` makes a site's folder: not with the coordinator."""
    return kit.folder.parent / f"hospitals-of-{kit.folder.name}" / name


def joined(kit: Kit, *names: str) -> Kit:
    """Let sites make their folders from the kit and be admitted; the federation again."""
    for name in names:
        folder = hospital(kit, name)
        enroll(kit.handout, name, folder)
        admit(kit, name, str(folder / "node.pub"))
    return kit
