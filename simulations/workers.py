"""A pool of worker processes, each of which plays one site at a time.

Weights go to a worker and back as files in memory (``/dev/shm`` where there is one) that both
sides map: what is the same for ten sites is written once. A worker that dies answers with an
error and is replaced; workers end when their parent does, however it ends.
"""

from __future__ import annotations

import multiprocessing
import queue
import shutil
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from flwr.app import Message, RecordDict

from echofm_core.runtime.errors import EngineError
from echofm_core.runtime.workers import become_worker, blocked_signals
from server.parking import Slot, park, scratch_path, unpark, without_arrays
from simulations.answering import answer, crashed, load_client_app
from simulations.flower_private import Envelope, NodeConfig, seal, unseal
from simulations.freed_memory import keep_freed_memory
from simulations.shared_folder import SharedFolder


class Parcel:
    """Arrays on disk that live as long as somebody holds the parcel."""

    def __init__(self, content: RecordDict, folder: Path) -> None:
        self.path = scratch_path(folder, "parcel")
        self.slots = park(content, self.path)
        weakref.finalize(self, self.path.unlink, missing_ok=True)


@dataclass(frozen=True, slots=True)
class Task:
    """One instruction for one site."""

    message: Message
    parcel: Parcel
    node_config: NodeConfig
    reply: Future[Message]


@dataclass(frozen=True, slots=True)
class Letter:
    """What goes through the pipe, both ways: a message, its arrays being in a file."""

    envelope: Envelope
    slots: list[Slot]
    path: str
    node_config: NodeConfig


class Pool:
    """Worker processes and one thread each that feeds it."""

    def __init__(self, workers: int, client_app: str) -> None:
        self._shared = SharedFolder()
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._feeders = [
            _Feeder(self._tasks, self._closed, client_app, self._shared.path)
            for _ in range(workers)
        ]
        for feeder in self._feeders:
            feeder.start()

    def submit(
        self, messages: Sequence[Message], node_configs: Sequence[NodeConfig]
    ) -> list[Future[Message]]:
        """Queue instructions; the futures hold the replies, errors included.

        A future raises :class:`EngineError` where no worker could be started.
        """
        parcels: dict[tuple[int, ...], Parcel] = {}
        futures = []
        for message, node_config in zip(messages, node_configs, strict=True):
            same = tuple(
                id(array.data)
                for record in message.content.array_records.values()
                for array in record.values()
            )
            if same not in parcels:
                parcels[same] = Parcel(message.content, self._shared.path)
            message.content = without_arrays(message.content)
            task = Task(message, parcels[same], node_config, Future())
            futures.append(task.reply)
            self._tasks.put(task)
        return futures

    def close(self) -> None:
        """End all workers, whatever they do; who waits for a reply gets an :class:`EngineError`."""
        self._closed.set()
        for feeder in self._feeders:
            self._tasks.put(None)
            feeder.kill()
        for feeder in self._feeders:
            feeder.join()
        self._shared.remove()


class _Feeder(threading.Thread):
    """Owns one worker process: hands it tasks, takes its replies, replaces it when it dies."""

    def __init__(
        self,
        tasks: queue.SimpleQueue[Task | None],
        closed: threading.Event,
        client_app: str,
        folder: Path,
    ) -> None:
        super().__init__(name="echofm-feeder", daemon=True)
        self._tasks = tasks
        self._closed = closed
        self._client_app = client_app
        self._folder = folder
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    def run(self) -> None:
        """Until the pool closes."""
        while (task := self._tasks.get()) is not None and not self._closed.is_set():
            try:
                task.reply.set_result(self._ask(task))
            except Exception as error:  # belongs to whoever waits for the reply
                task.reply.set_exception(error)
            # Free the parcel before waiting for the next task.
            del task
        self.kill()

    def kill(self) -> None:
        """End the process, whatever it does."""
        if self._process is not None:
            self._process.kill()

    def _ask(self, task: Task) -> Message:
        pipe, process = self._ready()
        if self._closed.is_set():
            process.kill()
        parcel = task.parcel
        try:
            pipe.send(Letter(seal(task.message), parcel.slots, str(parcel.path), task.node_config))
            wait([pipe, process.sentinel])
            return _open(pipe.recv(), delete=True)
        except (EOFError, OSError):
            process.join()
            self._process = None
            if self._closed.is_set():  # its death is no answer of the site
                raise EngineError("the engine was closed while a site was at work.") from None
            site = str(task.node_config.get("site", task.message.metadata.dst_node_id))
            return crashed(task.message, site, f"died with exit code {process.exitcode}")

    def _ready(self) -> tuple[Connection, BaseProcess]:
        """The live worker; a new one where there is none."""
        if self._process is not None and self._process.is_alive() and self._pipe is not None:
            return self._pipe, self._process
        context = multiprocessing.get_context("spawn")
        pipe, theirs = context.Pipe()
        process = context.Process(
            target=_work,
            args=(theirs, self._client_app, str(self._folder)),
            daemon=True,
        )
        with blocked_signals():
            process.start()
        theirs.close()
        self._pipe, self._process = pipe, process
        if self._closed.is_set():  # and did not see this one
            process.kill()
        try:
            problem = pipe.recv()
        except EOFError:
            process.join()
            problem = f"it died with exit code {process.exitcode} while starting"
        if problem:
            self._process = None
            raise EngineError(f"a simulation worker could not be started: {problem}")
        return pipe, process


def _work(pipe: Connection, client_app: str, folder: str) -> None:
    """Life of a worker process."""
    clean = partial(shutil.rmtree, folder, ignore_errors=True)
    become_worker(clean)
    keep_freed_memory()
    try:
        app = load_client_app(client_app)
    except EngineError as error:
        pipe.send(str(error))
        return
    try:
        pipe.send("")
        while True:
            letter: Letter = pipe.recv()
            message = _open(letter, delete=False)
            reply = answer(app, message, letter.node_config)
            pipe.send(_close(reply, Path(folder)))
            del message, reply
    except (EOFError, BrokenPipeError):  # the parent was killed: leave no weights behind
        clean()


def _close(message: Message, folder: Path) -> Letter:
    """Put a message's arrays in a file and the rest in a letter."""
    if not message.has_content() or not message.content.array_records:
        return Letter(seal(message), [], "", {})
    path = scratch_path(folder, "reply")
    slots = park(message.content, path)
    rest = Envelope(message.metadata, without_arrays(message.content), None)
    return Letter(rest, slots, str(path), {})


def _open(letter: Letter, *, delete: bool) -> Message:
    """The message of a letter, its arrays mapped from their file."""
    message = unseal(letter.envelope)
    if letter.slots:
        path = Path(letter.path)
        message.content = RecordDict({**message.content, **unpark(letter.slots, path)})
        if delete:
            path.unlink(missing_ok=True)
    return message
