"""One process of a pool: what it does, and the tasks that it has in hand (see ``pool.py``)."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from typing import Generic, TypeVar

from echofm_core.runtime.errors import EchoFMError
from echofm_core.runtime.forks import take_environment

T = TypeVar("T")
R = TypeVar("R")

_retried = False


def will_be_retried() -> bool:
    """Is this a pool's process, whose task is tried again should the process die?

    Only then may a task use what is known to kill processes; at the second try it goes without.
    """
    return _retried


class Task(Generic[T, R]):
    """A value, where its result goes, and whether it is its second try."""

    def __init__(self, value: T) -> None:
        self.value = value
        self.future: Future[R] = Future()
        self.retried = False


class Worker(Generic[T, R]):
    """A process, and the tasks that it has in hand, oldest first."""

    def __init__(
        self,
        context: BaseContext,
        prepare: Callable[[], Callable[[T], R]],
        orphaned: Callable[[], None],
    ) -> None:
        self.pipe, theirs = context.Pipe()
        # mypy: the base class of contexts does not say that it has processes.
        self.process = context.Process(  # type: ignore[attr-defined]
            target=_work, args=(dict(os.environ), theirs, prepare, orphaned), daemon=True
        )
        self.process.start()
        theirs.close()
        self.sentinel = self.process.sentinel
        self.started = False
        self.tasks: deque[Task[T, R]] = deque()


def _work(
    environment: Mapping[str, str],
    pipe: Connection,
    prepare: Callable[[], Callable[[T], R]],
    orphaned: Callable[[], None],
) -> None:
    """Life of a process."""
    global _retried
    take_environment(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(orphaned,), daemon=True).start()
    try:
        function = prepare()
    except EchoFMError as error:
        pipe.send((error, None))
        return
    try:
        pipe.send((None, None))
        while True:
            value, _retried = pipe.recv()
            answer: tuple[Exception | None, R | None]
            try:
                answer = None, function(value)
            except Exception as error:  # whoever waits for the result decides
                answer = error, None
            pipe.send(answer)
            del value, answer  # before waiting for the next
    except (EOFError, BrokenPipeError):
        orphaned()


def _end_with_parent(orphaned: Callable[[], None]) -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        orphaned()
        os._exit(1)
