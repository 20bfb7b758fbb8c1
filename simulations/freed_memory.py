"""Keep freed memory in the process: a round frees and takes a model's worth for every site."""

from __future__ import annotations

import ctypes
import sys

#: glibc's names (malloc.h) of the two limits.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
#: Arrays up to this many bytes come from the heap; glibc allows no more.
LARGEST_ON_HEAP = 32 * 2**20
#: Free bytes at the heap's end that are not given back: two models of 100 million parameters.
KEPT = 800 * 2**20


def keep_freed_memory() -> bool:
    """Ask the C library not to hand freed arrays back to the system between two sites.

    Without it the system clears the same pages anew for each reply. Each process may hold on to
    :data:`KEPT` bytes that nobody uses, but never to more than it once needed at a time.

    Returns:
        True where the C library knows how (glibc); elsewhere nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_ON_HEAP) and mallopt(M_TRIM_THRESHOLD, KEPT))
