"""A folder that one process at a time works in; a killed process lets go of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from echofm_core.runtime.errors import EchoFMError


@contextmanager
def held_folder(folder: Path, refusal: EchoFMError) -> Iterator[None]:
    """Make the folder, and lock it against other processes for a block.

    The lock is the folder's own, so that no file is left in it. Windows has none.

    Args:
        folder: Made where it is missing.
        refusal: Raised where another process holds it.

    Raises:
        EchoFMError: ``refusal``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise refusal from None
        yield
    finally:
        os.close(lock)
