"""Locks that the system lets go of when their process ends, however it ends.

Where files cannot be locked (Windows), everyone has every lock.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from echofm_core.runtime.errors import EchoFMError, ResumeError

if sys.platform != "win32":
    import fcntl


@contextmanager
def file_lock(path: Path, *, wait: bool = False) -> Iterator[IO[bytes] | None]:
    """Lock a file, made where needed, while the block runs; yields None where another has it.

    With ``wait``, until nobody has it: :func:`is_locked` takes it for an instant.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        yield file if _lock(file.fileno(), wait=wait) else None


def is_locked(path: Path) -> bool:
    """Does anybody have the file's lock?"""
    if sys.platform == "win32" or not path.exists():
        return path.exists()
    with path.open("ab") as file:
        return not _lock(file.fileno())


@contextmanager
def role_lock(folder: Path, role: str) -> Iterator[None]:
    """Be the only process that works on a run folder, made where needed, in one of its roles.

    Raises:
        ResumeError: Another process is.
    """
    path = folder / f".{role}.lock"
    while True:
        with file_lock(path) as ours:
            if not ours:
                raise ResumeError(
                    f"another process works on {folder}; wait until it is done or stop it, or "
                    "choose another run folder."
                )
            if not _is_at(ours, path):
                continue  # whoever had it before has just taken it away
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


@contextmanager
def folder_lock(folder: Path, refusal: EchoFMError) -> Iterator[None]:
    """Make a folder, and lock the folder itself for a block: no file is left in it.

    Raises:
        EchoFMError: ``refusal``, where another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":
        yield
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        if not _lock(opened):
            raise refusal
        yield
    finally:
        os.close(opened)


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except OSError:
        return False


def _lock(opened: int, *, wait: bool = False) -> bool:
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
