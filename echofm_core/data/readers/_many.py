"""One pure function over very many files: in parallel, with progress, results in order."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence, Set
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import TypeVar

from echofm_core.console import progress
from echofm_core.data.kinds import Kind, kind_of
from echofm_core.errors import DataRootError

F = TypeVar("F")
R = TypeVar("R")

#: With fewer files, starting processes takes longer than they save.
MANY = 2000
#: Files that a process is handed at a time.
CHUNK = 128
#: More processes than this wait for the disk, not for a processor.
MOST_WORKERS = 32


def over_files(function: Callable[[F], R], files: Sequence[F], title: str) -> list[R]:
    """``[function(file) for file in files]``; above ``MANY`` files on all cores, with progress.

    Args:
        function: Picklable, as its results are; it never raises, whatever a file holds.
        files: What it is called with, paths as a rule.
        title: What the progress display says, e.g. ``reading headers``.

    Raises:
        DataRootError: A process died.
    """
    if len(files) <= MANY:
        return [function(file) for file in files]
    chunks = [files[start : start + CHUNK] for start in range(0, len(files), CHUNK)]
    results: list[R] = []
    with progress(title, len(files)) as meter:
        for part in _parts(partial(_each, function), chunks, title):
            results += part
            meter.advance(len(part))
    return results


def files_below(root: Path, kinds: Set[Kind]) -> list[str]:
    """Files of some kinds below a folder, in one listing, sorted; linked folders are not entered.

    Args:
        root: The folder.
        kinds: See :func:`~echofm_core.data.kinds.kind_of`.

    Returns:
        Paths relative to ``root``, with forward slashes: text takes a third of a ``Path``.
    """
    found: list[str] = []
    for folder, _, names in os.walk(root):
        below = "" if (relative := os.path.relpath(folder, root)) == "." else f"{relative}/"
        # Plain text, not paths: half a million of those take seconds.
        wanted = [name for name in names if kind_of(f"{folder}{os.sep}{name}") in kinds]
        found += [f"{below}{name}".replace(os.sep, "/") for name in wanted]
    return sorted(found, key=lambda path: path.split("/"))


def _parts(
    function: Callable[[Sequence[F]], list[R]], chunks: list[Sequence[F]], title: str
) -> Iterator[list[R]]:
    """Results of each chunk, in order."""
    workers = min(os.cpu_count() or 1, len(chunks), MOST_WORKERS)
    if workers == 1:
        yield from map(function, chunks)
        return
    # Spawned, not forked: the caller may have threads, which a fork would not carry over.
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            yield from pool.map(function, chunks)
    except BrokenProcessPool:
        raise DataRootError(
            f"{title}: one of {workers} processes died, most likely for want of memory; close "
            "other programs and run the same command again."
        ) from None


def _each(function: Callable[[F], R], files: Sequence[F]) -> list[R]:
    return [function(file) for file in files]
