"""Files that appear whole or not at all."""

from __future__ import annotations

import io
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image


def write_whole(path: Path, content: bytes, *, durable: bool = False) -> Path:
    """Write a file through a sibling that then takes its name; the folder is made where needed.

    Args:
        path: Where to.
        content: All of it.
        durable: Return only when it has survived a power cut, its name too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    try:
        with partial.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
        if durable:
            _settle(path.parent)
    finally:
        partial.unlink(missing_ok=True)
    return path


def partial_path(path: Path) -> Path:
    """A hidden sibling, this process's alone, for what is to take a path's name when it is whole.

    What killed processes left under such a name is removed.
    """
    form = re.compile(rf"\.{re.escape(path.name)}\.(\d+)")
    for sibling in path.parent.iterdir() if path.parent.is_dir() else ():
        found = form.fullmatch(sibling.name)
        if found and not _runs(int(found[1])):
            shutil.rmtree(sibling) if sibling.is_dir() else sibling.unlink(missing_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}")


def is_partial(name: str) -> bool:
    """Is it the name of a sibling that never became whole?"""
    return re.fullmatch(r"\..+\.\d+", name) is not None


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's, or no process's number
        return True
    return True


def _settle(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def png_bytes(picture: Image.Image) -> bytes:
    """The picture as a PNG file; the hardest packing takes three times as long for one percent."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
