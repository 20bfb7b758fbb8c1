"""One function over many jobs in worker processes, any of which may be killed at any time."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import cv2

from echofm_core.runtime.errors import StoreError
from echofm_core.runtime.workers import become_worker, blocked_signals

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext

J = TypeVar("J")
R = TypeVar("R")

#: Jobs that a worker is handed at a time: it works on one while the next is on its way.
AHEAD = 2
#: What is loaded once for all workers; jobs of other modules load those.
LOADED = ["echofm_core.data.store.parts", "echofm_core.data.readers.generic"]
#: Results a worker that may wait for an earlier one; bounds memory when one job takes long.
WINDOW = 64


_expendable = False


def expendable() -> bool:
    """Is this a process of :func:`over_jobs` whose job will be tried again should it die?

    Only then may a job use what is known to end processes; where it does, the second try goes
    without.
    """
    return _expendable


def cores() -> int:
    """Processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def over_jobs(function: Callable[[J], R], jobs: Iterable[J], workers: int) -> Generator[R | None]:
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
    crew = _Crew(function, iter(jobs), workers)
    try:
        yield from crew.results()
    finally:
        crew.close()


@dataclass(frozen=True, slots=True)
class _Task(Generic[J]):
    """A job and its place in the order."""

    number: int
    job: J


def _context() -> SpawnContext | ForkServerContext:
    """How workers start: not as forks of this process, whose decoders keep threads.

    Where the system can, as forks of one that has loaded what they need and done nothing else: the
    second one, and each that takes a dead one's place, is there at once.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():  # Windows
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)
    return context


class _Worker(Generic[J, R]):
    """A process, and what it has in hand, oldest first."""

    def __init__(self, function: Callable[[J], R]) -> None:
        context = _context()
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, function), daemon=True)
        with blocked_signals():
            self.process.start()
        theirs.close()
        self.started = False
        self.tasks: deque[_Task[J]] = deque()


class _Crew(Generic[J, R]):
    """The workers, and every job that is not done."""

    def __init__(self, function: Callable[[J], R], jobs: Iterator[J], workers: int) -> None:
        self._function = function
        self._fresh = (_Task(number, job) for number, job in enumerate(jobs))
        self._taken = 0
        self._returned: deque[_Task[J]] = deque()
        self._suspects: deque[_Task[J]] = deque()
        self._alone: _Task[J] | None = None
        self._done: dict[int, R | None] = {}
        self._workers = [_Worker[J, R](function) for _ in range(workers)]

    def results(self) -> Iterator[R | None]:
        """See :func:`over_jobs`."""
        number = 0
        while True:
            while number in self._done:
                yield self._done.pop(number)
                number += 1
            self._hand_out(number + WINDOW * len(self._workers))
            if not self._busy():
                return
            self._collect()

    def close(self) -> None:
        """End all processes, whatever they do."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()

    def _busy(self) -> bool:
        return any(worker.tasks for worker in self._workers)

    def _hand_out(self, limit: int) -> None:
        """Keep all workers busy; but a suspect waits until all are idle, and then runs alone."""
        if self._suspects:
            if not self._busy():
                self._alone = self._suspects.popleft()
                self._give(0, self._alone)
            return
        for ahead in range(AHEAD):
            for place, worker in enumerate(self._workers):
                if self._alone is None and len(worker.tasks) <= ahead:
                    task = self._next(limit)
                    if task is None:
                        return
                    self._give(place, task)

    def _next(self, limit: int) -> _Task[J] | None:
        if self._returned:
            return self._returned.popleft()
        task = next(self._fresh, None) if self._taken < limit else None
        self._taken += task is not None
        return task

    def _give(self, place: int, task: _Task[J]) -> None:
        worker = self._workers[place]
        worker.tasks.append(task)
        with suppress(OSError):  # it is dead: its end of the pipe says so when we collect
            worker.pipe.send((task.job, task is not self._alone))

    def _collect(self) -> None:
        """Take what has come; replace the workers that died."""
        ready = wait([worker.pipe for worker in self._workers])
        for place, worker in enumerate(self._workers):
            if worker.pipe not in ready:
                continue
            try:
                error, result = worker.pipe.recv()
            except (EOFError, OSError):
                self._bury(place)
                continue
            if error is not None:
                raise error
            if not worker.started:
                worker.started = True
                continue
            task = worker.tasks.popleft()
            self._done[task.number] = result
            if task is self._alone:
                self._alone = None

    def _bury(self, place: int) -> None:
        """Blame the job that a dead worker worked on; hand the others to somebody else."""
        worker = self._workers[place]
        worker.process.join()
        if not worker.started:
            raise StoreError(
                f"a decoding process ended with code {worker.process.exitcode} as it started; free "
                "some memory and run the same command again: what is decoded is kept."
            )
        self._workers[place] = _Worker[J, R](self._function)
        if not worker.tasks:
            return
        blamed = worker.tasks.popleft()
        self._returned.extend(worker.tasks)
        if blamed is self._alone:
            self._done[blamed.number], self._alone = None, None
        else:
            self._suspects.append(blamed)


def _work(pipe: Connection, function: Callable[[J], R]) -> None:
    """Life of a worker process."""
    become_worker()
    # When memory runs out, the system should end a process that can be replaced.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    cv2.setNumThreads(1)
    pipe.send((None, None))
    global _expendable
    while True:
        try:
            job, _expendable = pipe.recv()
        except EOFError:
            return
        try:
            answer: tuple[Exception | None, R | None] = None, function(job)
        except Exception as error:  # the parent decides
            answer = error, None
        pipe.send(answer)
