"""A folder in memory that both sides of a pool map, and that nobody's death leaves behind."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

PREFIX = "echofm-"
LOCK = ".owner"
#: Least free bytes for ``/dev/shm`` to be used; containers often have 64 MB.
ENOUGH_SHARED_MEMORY = 4 << 30
#: Younger folders are never swept: their owner may be about to lock them. Seconds.
MIN_AGE = 60.0


class SharedFolder:
    """A new folder, locked by this process as long as it lives.

    Workers remove the folder when their parent is killed; where all were killed at once, the next
    pool on this machine does.
    """

    def __init__(self) -> None:
        base = _base()
        sweep(base)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        self._lock = (self.path / LOCK).open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Delete it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def sweep(base: Path) -> None:
    """Delete folders of pools whose owner is gone: those whose lock can be had."""
    for folder in base.glob(f"{PREFIX}*"):
        try:
            if time.time() - folder.stat().st_mtime < MIN_AGE:
                continue
            with (folder / LOCK).open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # in use, not one of ours, or just gone


def _base() -> Path:
    """``/dev/shm`` where it is big enough, else the usual folder for temporary files."""
    try:
        space = os.statvfs("/dev/shm")
    except OSError:
        return Path(tempfile.gettempdir())
    enough = space.f_bavail * space.f_frsize >= ENOUGH_SHARED_MEMORY
    return Path("/dev/shm") if enough else Path(tempfile.gettempdir())
