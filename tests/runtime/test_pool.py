"""A pool's processes die, hang and are killed; every task ends, and no process is left.

Ordered results, the second try and a start that fails are in ``tests/data/test_parallel.py``; the
death of the parent in ``tests/simulations/test_engine.py``.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait

import psutil
import pytest

from echofm_core.runtime.errors import EngineError
from echofm_core.runtime.pool import (
    Pool,
    PoolClosedError,
    WorkerDiedError,
    WorkerStartError,
)
from echofm_core.runtime.pool_worker import will_be_retried


@contextmanager
def running(prepare: Callable[[], Callable[[int], int]], **more: object) -> Iterator[Pool]:
    pool = Pool[int, int](prepare, 2, **more)  # type: ignore[arg-type]
    try:
        yield pool
    finally:
        pool.close()
        assert not _children()


def test_only_the_task_that_kills_fails_and_those_behind_it_are_done() -> None:
    """Three tasks a process: the ones that wait behind the deadly one are handed to another."""
    with running(_fatal, ahead=3) as pool:
        futures = {number: pool.submit(number) for number in range(12)}
        with pytest.raises(WorkerDiedError, match="died with exit code -9"):
            futures.pop(4).result(60)
        assert [future.result(60) for future in futures.values()] == [*range(4), *range(5, 12)]


def test_a_task_knows_whether_it_will_be_tried_again() -> None:
    with running(_telling) as pool:
        assert pool.submit(1).result(60) == 0
    with running(_telling, retry=True) as pool:
        assert pool.submit(1).result(60) == 1


def test_a_process_that_is_killed_while_idle_is_nobody_s_fault() -> None:
    with running(_identity) as pool:
        pool.submit(1).result(60)
        for child in _children():
            child.send_signal(signal.SIGKILL)
        # Dead to the system is not yet dead to the pool, which learns of it from their sentinels.
        for worker in filter(None, pool._workers):
            wait([worker.sentinel], 30)
        assert [pool.submit(number).result(60) for number in range(4)] == list(range(4))


def test_what_cannot_be_sent_fails_alone() -> None:
    with running(_identity) as pool:
        broken, whole = pool.submit(lambda: None), pool.submit(3)  # type: ignore[arg-type]
        assert whole.result(60) == 3
        assert broken.exception(60) is not None


def test_a_sentence_of_a_process_that_cannot_prepare_itself_is_passed_on() -> None:
    with running(_unprepared) as pool, pytest.raises(WorkerStartError, match="no such app"):
        pool.submit(1).result(60)


def test_closing_ends_processes_that_hear_nothing_and_whoever_waits() -> None:
    """One task sleeps with its signals ignored, one spins, four wait; SIGTERM ends none of them."""
    pool = Pool[int, int](_stubborn, 2)
    futures = [pool.submit(number) for number in range(6)]
    futures[0].add_done_callback(lambda future: None)
    deadline = time.monotonic() + 60
    while len(_children()) < 2 or not all(map(_busy, _children())):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for child in _children():
        child.send_signal(signal.SIGTERM)
    began = time.monotonic()
    pool.close()
    assert time.monotonic() - began < 5
    assert not _children()
    assert all(isinstance(future.exception(0), PoolClosedError) for future in futures)
    with pytest.raises(PoolClosedError):
        pool.submit(1)
    pool.close()


def _children() -> list[psutil.Process]:
    """Processes of pools; not the parent of forks, which stays."""
    own = psutil.Process().children()
    parents = [item for item in own if "forkserver" in " ".join(_words(item))]
    return [fork for item in parents for fork in item.children()]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _busy(process: psutil.Process) -> bool:
    """It has begun its task, for which it renices itself."""
    return process.nice() == os.nice(0) + 1


def _identity() -> Callable[[int], int]:
    return _same


def _same(number: int) -> int:
    return number


def _fatal() -> Callable[[int], int]:
    return _die_at_four


def _die_at_four(number: int) -> int:
    if number == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def _telling() -> Callable[[int], int]:
    return _tell


def _tell(number: int) -> int:
    return int(will_be_retried())


def _unprepared() -> Callable[[int], int]:
    raise EngineError("no such app")


def _stubborn() -> Callable[[int], int]:
    return _stay


def _stay(number: int) -> int:
    os.nice(1)
    while True:
        time.sleep(99 if number else 0)
