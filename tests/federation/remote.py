"""A Grid that behaves like the one over a network: replies come when they come, pulls may block."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping

from flwr.app import Message, RecordDict
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid

from simulations.flower_private import Run, become_server, deliver, empty_run
from simulations.workers import answer, load_client_app


class RemoteGrid(Grid):
    """Toy sites, each with its own delay before its reply is there and its own upload time.

    Args:
        delays: Site name -> seconds until the reply is announced.
        uploads: Site name -> seconds that a pull of an announced reply blocks.

    Attributes:
        delays: As given; what is asked from now on has those of now.
        gone: Sites whose node is not listed now; what they were asked is not answered.
        sessions: Site -> when its node came, where that has changed.
        asked: Sites, in the order in which they were asked to train.
    """

    def __init__(
        self, delays: Mapping[str, float], uploads: Mapping[str, float] | None = None
    ) -> None:
        become_server()
        self._app = load_client_app("tests.federation.toy:app")
        self._names = dict(enumerate(delays, start=1))
        self.delays: Mapping[str, float] = delays
        self._uploads = uploads or {}
        self._replies: dict[str, tuple[float, str, Message]] = {}
        self._lock = threading.Lock()
        self._count = 0
        self.pulled: list[str] = []
        self.gone: set[str] = set()
        self.sessions: dict[str, str] = {}
        self.asked: list[str] = []

    @property
    def run(self) -> Run:
        return empty_run()

    def set_run(self, run: Run) -> None:
        raise NotImplementedError

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        return [node for node, name in self._names.items() if name not in self.gone]

    def get_nodes(self) -> Iterable[NodeInfo]:
        named = ((node, self.sessions.get(self._names[node], "")) for node in self.get_node_ids())
        return [NodeInfo(node_id=node, last_activated_at=session) for node, session in named]

    def rename(self, before: str, after: str) -> None:
        """Have a site answer by another name from now on."""
        node = next(node for node, name in self._names.items() if name == before)
        self._names[node] = after
        self.delays = {**self.delays, after: self.delays[before]}

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        ids = []
        for message in messages:
            name = self._names[message.metadata.dst_node_id]
            self._count += 1
            if message.metadata.message_type.startswith("train"):
                self.asked.append(name)
            ids.append(f"m{self._count}")
            reply = answer(self._app, deliver(message, ids[-1]), {"site": name})
            ready = time.monotonic() + self.delays[name]
            self._replies[ids[-1]] = (ready, name, reply)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        found = []
        for message_id in message_ids:
            ready, name, reply = self._replies.get(message_id, (float("inf"), "", None))
            if time.monotonic() < ready or reply is None or name in self.gone:
                continue
            time.sleep(self._uploads.get(name, 0.0))
            with self._lock:
                if self._replies.pop(message_id, None):
                    self.pulled.append(name)
                    found.append(reply)
        return found

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        raise NotImplementedError
