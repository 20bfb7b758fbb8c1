"""Memory of a simulation: what processes share, and what a process keeps.

Weights pass between processes as files in a folder that all map. It goes when the pool is closed;
when the parent is killed, its workers remove it; where all were killed at once, the next pool of
this machine does.
"""

import ctypes
import fcntl
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

PREFIX = "echofm-"
LOCK = ".owner"
#: Least free bytes for ``/dev/shm`` to be used; containers often have 64 MB.
ENOUGH_SHARED_MEMORY = 4 << 30
#: Younger folders are never swept: their owner may be about to lock them. Seconds.
MIN_AGE = 60.0
#: glibc's names (malloc.h) of the two limits.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
#: Arrays up to this many bytes come from the heap; glibc allows no more.
LARGEST_ON_HEAP = 32 * 2**20
#: Free bytes at the heap's end that are not given back: two models of 100 million parameters.
KEPT = 800 * 2**20


class SharedFolder:
    """A new folder, locked by this process as long as it lives."""

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
    with suppress(OSError):
        if shutil.disk_usage("/dev/shm").free >= ENOUGH_SHARED_MEMORY:
            return Path("/dev/shm")
    return Path(tempfile.gettempdir())


def keep_freed_memory() -> bool:
    """Ask the C library not to hand freed arrays back to the system between two sites.

    Without it the system clears the same pages anew for each reply. Each process may hold on to
    :data:`KEPT` bytes that nobody uses, but never to more than it once needed at a time.

    Returns:
        True where the C library knows how (glibc); elsewhere nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    ask = getattr(ctypes.CDLL(None), "mallopt", lambda _name, _value: 0)
    return bool(ask(M_MMAP_THRESHOLD, LARGEST_ON_HEAP) and ask(M_TRIM_THRESHOLD, KEPT))
