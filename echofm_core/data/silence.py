"""Decoders in C that talk to the terminal, silenced."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_inside = 0
_stderr = -1


@contextmanager
def silenced() -> Iterator[None]:
    """Keep what libjpeg says about damage off the terminal; it has no other switch.

    The whole process's standard error is closed meanwhile, so stay inside for one clip at most.
    Threads may overlap.
    """
    global _inside, _stderr  # noqa: PLW0603 - there is one standard error
    with _lock:
        if _inside == 0:
            _stderr = _redirect()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _stderr >= 0:
                os.dup2(_stderr, 2)
                os.close(_stderr)


def _redirect() -> int:
    """Point descriptor 2 to nowhere; a copy of what it was, or -1 where it was closed already."""
    try:
        kept = os.dup(2)
    except OSError:
        return -1
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    return kept
