"""One pure function over very many files: in parallel, with progress, results in order."""

import os
from collections.abc import Callable, Sequence, Set
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TypeVar

from echofm_core.data.file_kinds import Kind, kind_of
from echofm_core.data.parallel import cores, parallel_map
from echofm_core.runtime.console import progress
from echofm_core.runtime.errors import DataRootError, StoreError

F = TypeVar("F")
R = TypeVar("R")
D = TypeVar("D")

#: With fewer files, starting processes takes longer than they save.
MANY = 2000
#: Files that a process is handed at a time.
CHUNK = 128
#: More processes than this wait for the disk, not for a processor.
MOST_WORKERS = 32


def over_files(function: Callable[[F], R], files: Sequence[F], title: str, died: D) -> list[R | D]:
    """``[function(file) for file in files]``; above ``MANY`` files on all cores, with progress.

    Args:
        function: Picklable, as its results are, of which none is None; it never raises, whatever a
            file holds.
        files: What it is called with, paths as a rule.
        title: Of the progress display.
        died: What stands for the result of a file on which processes died.

    Raises:
        DataRootError: A process cannot be started.
    """
    if len(files) <= MANY:
        return [*map(function, files)]
    chunks = [files[start : start + CHUNK] for start in range(0, len(files), CHUNK)]
    results: list[R | D] = []
    try:
        workers = min(cores(), len(chunks), MOST_WORKERS)
        mapped = parallel_map(partial(_each, function), chunks, workers)
        # A part is None where two processes died on its chunk.
        with progress(title, len(files)) as meter, closing(mapped) as parts:
            for chunk, part in zip(chunks, parts, strict=True):
                results += _one_by_one(function, chunk, died) if part is None else part
                meter.advance(len(chunk))
    except StoreError:
        raise DataRootError(
            f"{title}: a process ended as it started, most likely for want of memory; close other "
            "programs and run the same command again."
        ) from None
    return results


def files_below(root: Path, kinds: Set[Kind]) -> list[str]:
    """Files of some kinds below a folder, in one listing, sorted; linked folders are not entered.

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


def _one_by_one(function: Callable[[F], R], files: Sequence[F], died: D) -> list[R | D]:
    """Results of files some of which kill the process that opens them."""
    with closing(parallel_map(function, files, 1)) as results:
        return [died if result is None else result for result in results]


def _each(function: Callable[[F], R], files: Sequence[F]) -> list[R]:
    return [function(file) for file in files]
