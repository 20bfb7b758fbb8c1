"""Phantom institutions that test files share: their seed decides them, and drawing takes time."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from echofm_core.phantom.hospitals import HOSPITALS
from echofm_core.phantom.institutions import Layout, write_hospitals, write_institutions
from echofm_core.runtime.file_lock import file_lock


class Phantoms:
    """Draws each institution once, and copies it to whoever asks.

    Args:
        kept: Folder, of all processes of one run of the tests, where they lie.
    """

    def __init__(self, kept: Path) -> None:
        self._kept = kept

    def institutions(self, folder: Path, patients: Mapping[Layout, int], *, seed: int) -> None:
        """Put institutions in public layouts, without errors, into a folder."""
        for layout, count in patients.items():

            def write(new: Path, layout: Layout = layout, count: int = count) -> None:
                write_institutions(new, {layout: count}, seed=seed, errors=False)

            self._copy(f"{layout.value}-{count}-{seed}", folder, write)

    def hospitals(self, folder: Path, patients: Mapping[str, int], *, seed: int) -> None:
        """Put synthetic hospitals, by their names, into a folder."""
        for name, count in patients.items():
            chosen = [item for item in HOSPITALS if item.name == name]

            def write(new: Path, count: int = count) -> None:
                write_hospitals(new, chosen, count, seed=seed)  # noqa: B023

            self._copy(f"hospital-{name}-{count}-{seed}", folder, write)

    def _copy(self, name: str, folder: Path, write: Callable[[Path], None]) -> None:
        drawn, unfinished = self._kept / name, self._kept / f"{name}.unfinished"
        with file_lock(self._kept / f"{name}.lock", wait=True):
            if not drawn.exists():
                shutil.rmtree(unfinished, ignore_errors=True)
                write(unfinished)
                unfinished.rename(drawn)
        shutil.copytree(drawn, folder, dirs_exist_ok=True)
