"""A pool of processes any of which may die at any time; a task goes in, a result or a death out.

Symptom: a damaged file, or a lack of memory, kills a process at its task; the standard pools then
fail every task, or wait for ever. Reason: their one queue does not say which task a process had.
Protocol: one thread, the dispatcher, starts the processes and has a pipe to each. A process has
``ahead`` tasks in hand, works on the oldest, and answers in their order: so the oldest is blamed
when it dies. The others go back to the queue, for a new process. With ``retry`` the blamed task is
tried once more while nothing else runs, since another may have taken the memory. Signals that stop
a command do not reach the processes; they end with the pool, and with their parent. What can still
go wrong: a task never ends; a program that it left outlives it; someone else killed the process.
"""

from __future__ import annotations

import atexit
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from multiprocessing.connection import wait
from typing import Generic, TypeVar, cast

from echofm_core.runtime.forks import fork_context, load_before_forks
from echofm_core.runtime.pool_worker import Task, Worker
from echofm_core.runtime.signals import blocked_signals

T = TypeVar("T")
R = TypeVar("R")

#: Seconds that closing waits for a process that is just being started.
PATIENCE = 1.0


class WorkerDiedError(Exception):
    """The process died on this task."""

    def __init__(self, exit_code: int | None) -> None:
        super().__init__(f"died with exit code {exit_code}")


class WorkerStartError(Exception):
    """No process could be started for this task; ``exit_code`` is that of one that died."""

    def __init__(self, reason: str, exit_code: int | None = None) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


class PoolClosedError(Exception):
    """The pool was closed before the task was done."""


def _nothing() -> None:
    pass


class Pool(Generic[T, R]):
    """The processes, and every task that is not done. All methods may be called from any thread.

    Args:
        prepare: Picklable; called once in each process, returns what is called with each task.
        workers: Processes at most; each is started when a task first waits for it.
        preload: Names of modules that their parent loads, where it has not started (``forks.py``).
        ahead: Tasks that a process has in hand; with 2, one is on its way while it works.
        retry: Try a task on which a process died once more.
        orphaned: Picklable; the last act of a process whose parent has died.
    """

    def __init__(
        self,
        prepare: Callable[[], Callable[[T], R]],
        workers: int,
        *,
        preload: Sequence[str] = (),
        ahead: int = 1,
        retry: bool = False,
        orphaned: Callable[[], None] = _nothing,
    ) -> None:
        load_before_forks(*preload)
        self._context = fork_context()
        self._life = prepare, orphaned
        self._ahead = ahead
        self._retry = retry
        self._lock = threading.Lock()  # of the next three
        self._queue: deque[Task[T, R]] = deque()
        self._hungry = False
        self._closed = False
        self._woken, self._waker = self._context.Pipe(duplex=False)
        self._workers: list[Worker[T, R] | None] = [None] * workers
        self._retries: deque[Task[T, R]] = deque()
        self._alone: Task[T, R] | None = None
        self._dispatcher = threading.Thread(target=self._dispatch, name="pool", daemon=True)
        self._dispatcher.start()
        # Python's own end asks each process to end, which they do not hear, and waits for it.
        atexit.register(self.close)

    def submit(self, value: T) -> Future[R]:
        """Queue a task.

        Args:
            value: Picklable; it is pickled when a process is free.

        Returns:
            Its result, or what its function raised, or :class:`WorkerDiedError`,
            :class:`WorkerStartError`, :class:`PoolClosedError`.

        Raises:
            PoolClosedError: The pool is closed.
        """
        task = Task[T, R](value)
        with self._lock:
            if self._closed:
                raise PoolClosedError
            self._queue.append(task)
            if self._hungry:
                self._hungry = False
                self._waker.send_bytes(b"a task")
        return task.future

    def close(self) -> None:
        """Kill all processes, whatever they do; what is not done fails."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._waker.send_bytes(b"the end")
        for worker in self._workers:
            if worker is not None:
                worker.process.kill()
        self._dispatcher.join(PATIENCE)
        atexit.unregister(self.close)

    def _dispatch(self) -> None:
        with blocked_signals():
            error: Exception = PoolClosedError()
            try:
                while not self._closed:
                    self._hand_out()
                    self._collect()
            except Exception as bug:
                error = bug
            self._end(error)

    def _hand_out(self) -> None:
        """Keep all processes busy; but a task to retry waits until all are idle, and runs alone."""
        if self._retries:
            if not any(worker and worker.tasks for worker in self._workers):
                self._alone = self._retries.popleft()
                self._send(0, self._alone)
            return
        for depth in range(self._ahead if self._alone is None else 0):
            for place, worker in enumerate(self._workers):
                if worker is None or len(worker.tasks) <= depth:
                    with self._lock:
                        self._hungry = not self._queue
                        if self._hungry or self._closed:
                            return
                        task = self._queue.popleft()
                    self._send(place, task)

    def _send(self, place: int, task: Task[T, R]) -> None:
        worker = self._workers[place]
        if worker is not None and not worker.tasks and not worker.process.is_alive():
            worker.pipe.close()
            worker = None
        try:
            worker = self._workers[place] = worker or Worker(self._context, *self._life)
        except (OSError, EOFError) as error:  # no memory, too many processes, or their parent died
            self._workers[place] = None
            self._fail(task, WorkerStartError(str(error)))
            return
        worker.tasks.append(task)
        try:
            worker.pipe.send((task.value, self._retry and not task.retried))
        except OSError:
            pass  # it is dead: seen when we collect
        except Exception as error:  # no process can be sent this
            self._fail(worker.tasks.pop(), error)

    def _collect(self) -> None:
        """Wait until something happens; take answers, and clear away the dead."""
        living = [(place, worker) for place, worker in enumerate(self._workers) if worker]
        ready = wait(
            [self._woken, *(part for _, item in living for part in (item.pipe, item.sentinel))]
        )
        if self._woken in ready:
            self._woken.recv_bytes()
        for place, worker in living:
            if worker.pipe in ready:
                try:
                    error, result = worker.pipe.recv()
                except (EOFError, OSError):
                    self._died(place, worker)
                    continue
                except Exception as broken:  # an answer that cannot be unpickled
                    error, result = broken, None
                self._answered(place, worker, error, result)
            elif worker.sentinel in ready:
                self._died(place, worker)

    def _answered(
        self, place: int, worker: Worker[T, R], error: Exception | None, result: R | None
    ) -> None:
        if not worker.started:
            if error is not None:
                self._not_started(place, worker, WorkerStartError(str(error)))
            worker.started = True
            return
        task = worker.tasks.popleft()
        if error is not None:
            self._fail(task, error)
            return
        if task is self._alone:
            self._alone = None
        task.future.set_result(cast(R, result))

    def _died(self, place: int, worker: Worker[T, R]) -> None:
        """Blame the oldest task in hand; but closing kills, and blames none."""
        if self._closed:
            return
        worker.process.join()
        code = worker.process.exitcode
        if not worker.started:
            reason = f"it died with exit code {code} while starting"
            self._not_started(place, worker, WorkerStartError(reason, code))
        elif blamed := self._dismiss(place, worker):
            if self._retry and not blamed.retried:
                blamed.retried = True
                self._retries.append(blamed)
                return
            self._fail(blamed, WorkerDiedError(code))

    def _not_started(self, place: int, worker: Worker[T, R], error: WorkerStartError) -> None:
        if task := self._dismiss(place, worker):
            self._fail(task, error)

    def _fail(self, task: Task[T, R], error: Exception) -> None:
        if task is self._alone:
            self._alone = None
        task.future.set_exception(error)

    def _dismiss(self, place: int, worker: Worker[T, R]) -> Task[T, R] | None:
        """Take the oldest task in hand; the others go back to the front of the queue."""
        self._workers[place] = None
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()
        task = worker.tasks.popleft() if worker.tasks else None
        with self._lock:
            self._queue.extendleft(reversed(worker.tasks))
        return task

    def _end(self, error: Exception) -> None:
        """Leave no process behind, and nobody waiting."""
        living = [worker for worker in self._workers if worker]
        for worker in living:
            worker.process.kill()
        for worker in living:
            worker.process.join()
            worker.pipe.close()
        with self._lock:
            self._closed = True
            tasks = [*self._queue, *self._retries]
            self._queue.clear()
        for task in [*tasks, *(task for worker in living for task in worker.tasks)]:
            task.future.set_exception(error)
