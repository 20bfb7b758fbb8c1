"""One function over many files in processes, any of which a file may kill; results in order."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import cv2

from echofm_core.runtime.console import progress
from echofm_core.runtime.errors import DataRootError, StoreError
from echofm_core.runtime.pool import Pool, WorkerDiedError, WorkerStartError

J = TypeVar("J")
R = TypeVar("R")
D = TypeVar("D")

#: Jobs that a worker has in hand: it works on one while the next is on its way.
AHEAD = 2
#: What is loaded once for all workers; jobs of other modules load those.
PRELOADED = ("echofm_core.data.store.parts", "echofm_core.data.readers.generic")
#: Results a worker that may wait for an earlier one; bounds memory when one job takes long.
WINDOW = 64
#: With fewer files, starting processes takes longer than they save.
MANY = 2000
#: Files that a process is handed at a time.
CHUNK = 128
#: More processes than this wait for the disk, not for a processor.
MOST_WORKERS = 32


def cores() -> int:
    """Processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def parallel_map(
    function: Callable[[J], R], jobs: Iterable[J], workers: int
) -> Generator[R | None]:
    """``map(function, jobs)``, in the order of the jobs, by as many processes as ``workers``.

    A job on which its process was killed, for want of memory as a rule, is tried once more while
    nothing else runs.

    Args:
        function: Picklable, as its results are; what it raises is raised here.
        jobs: Taken as they are needed.
        workers: At least 1.

    Yields:
        Results; None for a job on which two processes died.

    Raises:
        StoreError: A process cannot be started.
    """
    prepare = partial(_prepare, function)
    # Forks of a process of their own: the decoders of this one keep threads.
    pool = Pool[J, R](prepare, workers, preload=PRELOADED, ahead=AHEAD, retry=True)
    more, waiting = iter(jobs), deque[Future[R]]()
    try:
        while True:
            waiting.extend(map(pool.submit, islice(more, WINDOW * workers - len(waiting))))
            if not waiting:
                return
            yield _result(waiting.popleft())
    finally:
        pool.close()


def _result(future: Future[R]) -> R | None:
    try:
        return future.result()
    except WorkerDiedError:
        return None
    except WorkerStartError as error:
        raise StoreError(
            f"a decoding process ended with code {error.exit_code} as it started; free some memory "
            "and run the same command again: what is decoded is kept."
        ) from None


def _prepare(function: Callable[[J], R]) -> Callable[[J], R]:
    # When memory runs out, the system should end a process that can be replaced.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    cv2.setNumThreads(1)
    return function


def over_files(function: Callable[[J], R], files: Sequence[J], title: str, died: D) -> list[R | D]:
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
        with progress(title, len(files)) as meter, closing(mapped) as parts:
            for chunk, part in zip(chunks, parts, strict=True):
                if part is None:  # some of its files kill the process that opens them
                    with closing(parallel_map(function, chunk, 1)) as single:
                        results += [died if result is None else result for result in single]
                else:
                    results += part
                meter.advance(len(chunk))
    except StoreError:
        raise DataRootError(
            f"{title}: a process ended as it started, most likely for want of memory; close other "
            "programs and run the same command again."
        ) from None
    return results


def _each(function: Callable[[J], R], files: Sequence[J]) -> list[R]:
    return [function(file) for file in files]
