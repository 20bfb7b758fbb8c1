"""Files that one process at a time holds; the system lets go of them when it ends, however.

Where files cannot be locked (Windows), everyone holds them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from echofm_core.runtime.errors import ResumeError

if sys.platform != "win32":
    import fcntl


@contextmanager
def held(path: Path, *, wait: bool = False) -> Iterator[IO[bytes] | None]:
    """Hold a file while the block runs; yields it, or None where somebody else holds it.

    Args:
        path: Made if it is not there.
        wait: Until nobody else does; a look (:func:`is_held`) takes it for an instant.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        yield file if _lock(file, wait) else None


def is_held(path: Path) -> bool:
    """Does anybody hold the file?"""
    if sys.platform == "win32" or not path.exists():
        return path.exists()
    with path.open("ab") as file:
        return not _lock(file, wait=False)


@contextmanager
def alone_in(folder: Path, name: str) -> Iterator[None]:
    """Be the only process that works on a run folder, in one of its roles.

    Args:
        folder: Made if it is not there.
        name: The role, which names the file that is held.

    Raises:
        ResumeError: Another process is.
    """
    path = folder / f".{name}.lock"
    while True:
        with held(path) as ours:
            if not ours:
                raise ResumeError(
                    f"another process works on {folder}; wait until it is done or stop it, or "
                    "choose another run folder."
                )
            if not _is_at(ours, path):
                continue  # whoever held it before has just taken it away
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except OSError:
        return False


def _lock(file: IO[bytes], wait: bool) -> bool:
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
