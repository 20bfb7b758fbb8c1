"""Flower without a network: an in-process Grid whose sites are played by workers.

Symptom: Flower's own simulation copies the weights for every site and starts Ray to do it. Reason:
it is made for many machines. Protocol: ``ServerApp`` and ``ClientApp`` are the real ones; a message
goes to a worker (``workers.py``), is answered in this process where there is one, or becomes a task
of a Ray cluster (``ray_sites.py``), and its reply waits in the grid until it is pulled. A site sees
its message and its node config, and nothing that another site left behind but files. What can still
go wrong: parts of Flower that are not public (``flower_private.py``) move; its tests fail then.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from flwr.app import Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from echofm_core.plan.engine import EngineName, RayConfig
from echofm_core.plan.machine import MachineConfig
from echofm_core.runtime.errors import EngineError
from echofm_core.runtime.forks import load_before_forks
from echofm_core.training.config import ExecutionConfig
from simulations.flower_private import NodeConfig, Run, become_server, deliver, empty_run
from simulations.memory import keep_freed_memory
from simulations.workers import PRELOADED, Pending, Runner, SitePool, answer, load_client_app

#: Seconds that one pull waits for a reply of a worker.
PATIENCE = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteSettings:
    """A simulated site: what a hospital writes in its node config."""

    name: str
    """Unique in a grid."""
    manifest: Path
    store: Path
    """Folder with its clip stores, one a data set."""
    state: Path
    """Folder that only this site writes to."""
    log: str = ""
    """How messages call its log, which lies there; from the run folder on."""


class Engine:
    """Plays sites. A context manager; grids made from it share its workers.

    Args:
        workers: Sites trained at the same time; 1 runs them in this process, one after the other.
        execution: How each site trains; does not depend on ``workers``, so that the bits do not
            either.
        client_app: Where the ClientApp is, ``package.module:name``.
        ray: The Ray cluster that trains the sites in place of this machine's processes.
    """

    def __init__(
        self,
        workers: int = 1,
        *,
        execution: ExecutionConfig = ExecutionConfig(),  # noqa: B008  (frozen)
        client_app: str = "client.app:app",
        ray: RayConfig | None = None,
    ) -> None:
        self._workers = workers
        self._execution = execution
        self._client_app = client_app
        self._ray = ray
        self._runner: Runner | None = None

    @classmethod
    def of(cls, machine: MachineConfig) -> Self:
        """The engine that the ``[machine]`` table of a plan asks for."""
        ray = machine.ray if machine.engine is EngineName.RAY else None
        return cls(machine.workers, execution=machine, ray=ray)

    @staticmethod
    def announce(machine: MachineConfig) -> None:
        """Say, before clips are decoded, that sites will be trained as a plan's ``[machine]`` asks.

        Processes that decode and workers are forks of one process, which loads modules once.
        """
        if machine.engine is EngineName.PROCESSES and machine.workers > 1:
            load_before_forks(*PRELOADED)

    def __enter__(self) -> Self:
        become_server()
        keep_freed_memory()
        self._runner = self._new_runner()
        return self

    def __exit__(self, *_: object) -> None:
        if self._runner:
            self._runner.close()
        self._runner = None

    def _new_runner(self) -> Runner:
        app = self._client_app
        if self._ray is not None:
            from simulations.ray_sites import RaySites

            return RaySites(self._workers, app, self._execution, self._ray)
        return _Inline(app) if self._workers == 1 else SitePool(self._workers, app)

    def grid(self, sites: Sequence[SiteSettings]) -> Grid:
        """A grid of one federation; several may be used at once, from several threads.

        Raises:
            EngineError: The engine is not running.
        """
        if self._runner is None:
            raise EngineError("the engine is not running; use it in a `with` statement.")
        node_configs: list[NodeConfig] = [
            {
                "site": site.name,
                "manifest": str(site.manifest),
                "store": str(site.store),
                "state": str(site.state),
                "log": site.log,
                "simulated": True,
                **self._execution.settings(),
            }
            for site in sites
        ]
        return InProcessGrid(self._runner, node_configs)


class _Inline:
    """Plays sites in this process, each when its reply is wanted: one reply in memory."""

    def __init__(self, client_app: str) -> None:
        self._app: ClientApp = load_client_app(client_app)
        self._turn = threading.Lock()

    def submit(
        self, messages: Sequence[Message], node_configs: Sequence[NodeConfig]
    ) -> list[Pending]:
        """Nothing runs yet."""
        tasks = zip(messages, node_configs, strict=True)
        return [partial(self._answer, *task) for task in tasks]

    def close(self) -> None:
        """Nothing to end."""

    def _answer(self, message: Message, node_config: NodeConfig, timeout: float) -> Message:
        """Run the site now, for as long as it takes."""
        with self._turn:
            return answer(self._app, message, node_config)


class InProcessGrid(Grid):
    """Flower's Grid over an engine. Node ids are 1, 2, ... in the order of the sites."""

    #: Replies wait here until they are pulled: see ``server/replies.py``.
    keeps_replies = True

    def __init__(self, runner: Runner, node_configs: Sequence[NodeConfig]) -> None:
        self._runner = runner
        self._nodes = dict(enumerate(node_configs, start=1))
        self._replies: dict[str, Pending] = {}
        self._ids = itertools.count(1)
        self._run = empty_run()

    @property
    def run(self) -> Run:
        """An empty run."""
        return self._run

    def set_run(self, run: Run) -> None:
        """Kept, and not used."""
        self._run = run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Flower's older way to make a message."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Ids of all sites; all are always there."""
        return list(self._nodes)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Hand instructions to the sites.

        Raises:
            EngineError: A message is to a node that is not there.
        """
        ids, delivered, node_configs = [], [], []
        for message in messages:
            node = message.metadata.dst_node_id
            if node not in self._nodes:
                raise EngineError(f"there is no node {node}; nodes are {list(self._nodes)}.")
            ids.append(f"{next(self._ids)}")
            delivered.append(deliver(message, ids[-1]))
            node_configs.append(self._nodes[node])
        self._replies.update(zip(ids, self._runner.submit(delivered, node_configs), strict=True))
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Replies that are there, or come within a moment; each can be pulled once."""
        found = []
        for message_id in message_ids:
            if reply := self._replies.get(message_id):
                with suppress(TimeoutError):
                    found.append(reply(PATIENCE))
                    del self._replies[message_id]
        return found

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Push, then yield replies one at a time; a strategy that consumes them so, streams."""
        deadline = None if timeout is None else time.monotonic() + timeout
        waiting = list(self.push_messages(messages))

        def replies() -> Iterator[Message]:
            while waiting and (deadline is None or time.monotonic() < deadline):
                for message_id in list(waiting):
                    for reply in self.pull_messages([message_id]):
                        waiting.remove(message_id)
                        yield reply

        return replies()
