"""Files that may be packed or damaged: unpacked as they are read, and nothing on the terminal."""

import gzip
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

# Standard error's copy, and how many are within silenced() meanwhile.
_lock = threading.Lock()
_inside = 0
_stderr = -1


def unpacked(raw: BinaryIO) -> BinaryIO | gzip.GzipFile:
    """An open file, unpacked where it is gzip, whatever its name says."""
    packed = raw.read(2) == b"\x1f\x8b"
    raw.seek(0)
    return gzip.GzipFile(fileobj=raw) if packed else raw


@contextmanager
def silenced() -> Iterator[None]:
    """Keep what libjpeg says about damage off the terminal; it has no other switch.

    The whole process's standard error is closed meanwhile, so stay inside for one clip at most.
    Threads may overlap.
    """
    global _inside, _stderr  # noqa: PLW0603 - there is one standard error
    with _lock:
        if _inside == 0:
            with suppress(OSError):  # it was closed already
                _stderr = os.dup(2)
                with Path(os.devnull).open("wb") as nowhere:
                    os.dup2(nowhere.fileno(), 2)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _stderr >= 0:
                os.dup2(_stderr, 2)
                os.close(_stderr)
                _stderr = -1
