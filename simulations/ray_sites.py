"""Plays sites on a Ray cluster, for simulations that outgrow one machine.

A site's work in a round is a Ray task. Weights that several sites are sent lie in Ray's object
store once, and tasks read them there without a copy. Ray starts a task whose worker or node died
once more; so may a site that was done, where its answer was lost with a node: a round gives the
same bits again. Messages are pickled between machines of one owner: a Ray cluster runs whatever
reaches its ports, so it belongs behind the owner's firewall, and no hospital's site is part of it.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Error, Message, RecordDict
from numpy.typing import NDArray

from echofm_core.plan.engine import RayConfig
from echofm_core.plan.preflight import require_ray
from echofm_core.runtime.errors import EngineError
from echofm_core.runtime.signals import SIGNALS
from echofm_core.training.config import ExecutionConfig
from server.parking import Slot, pieces_of, records_of, without_arrays
from simulations.flower_private import CLIENT_APP_CRASHED, Envelope, NodeConfig, seal, unseal
from simulations.memory import keep_freed_memory
from simulations.ray_nodes import require_files, require_nodes
from simulations.workers import Pending, answer, load_client_app, shared_arrays, when

#: Arrays with their bytes, which Ray does not copy on the way to a process of the same machine.
Arrays = list[tuple[Slot, NDArray[np.uint8]]]

#: Seconds to reach a cluster's head.
CONNECTING = 10.0
#: Keys of a node config that are paths.
PLACES = ("manifest", "store", "state")
#: A Ray of our own sends no statistics to Ray's makers; and none begins because a thread still asks
#: for a reply when the engine was closed.
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_AUTO_CONNECT": "0"}


@dataclass(frozen=True, slots=True)
class Played:
    """What a task returns: a reply without its arrays, and these."""

    envelope: Envelope
    arrays: Arrays


class RaySites:
    """Sites as tasks of a Ray cluster, each with the CPUs that it trains with.

    Args:
        workers: Sites trained at once where no cluster is named; a cluster trains as many as its
            free CPUs and GPUs allow.
        client_app: Where the ClientApp is, ``package.module:name``, on every node.
        execution: ``threads`` are a site's CPUs.
        config: Which cluster, and a site's GPUs.

    Raises:
        EnvironmentClashError: Ray is not installed.
        EngineError: There is no such cluster, or none of its nodes can train a site.
    """

    def __init__(
        self, workers: int, client_app: str, execution: ExecutionConfig, config: RayConfig
    ) -> None:
        require_ray()
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        self._ray: Any = importlib.import_module("ray")
        self._connect(workers * execution.threads, config.address)
        self._closed = False
        self._client_app = client_app
        self._asking, self._asked = threading.Lock(), False
        self._task = self._ray.remote(
            num_cpus=execution.threads,
            num_gpus=config.gpus,
            max_retries=1,
            scheduling_strategy="SPREAD",
        )(play)
        try:
            self._require_room({"CPU": execution.threads, "GPU": config.gpus})
        except EngineError:
            self.close()
            raise

    def submit(
        self, messages: Sequence[Message], node_configs: Sequence[NodeConfig]
    ) -> list[Pending]:
        """Hand instructions to Ray; their arrays are taken out of them.

        Raises:
            EngineError: A node does not see the sites' folders, or has other software; or the
                engine was closed.
        """
        if self._closed:
            raise EngineError("the engine was closed.")
        node_configs = [_absolute(config) for config in node_configs]
        with self._asking:
            if not self._asked:
                require_nodes(self._ray, self._client_app, node_configs)
                self._asked = True
        stored: dict[tuple[int, ...], Any] = {}
        replies = list[Pending]()
        for message, node_config in zip(messages, node_configs, strict=True):
            if (same := shared_arrays(message)) not in stored:
                stored[same] = self._ray.put(_stored(message.content))
            message.content = without_arrays(message.content)
            played = self._task.remote(self._client_app, seal(message), stored[same], node_config)
            replies.append(partial(self._reply, message, str(node_config["site"]), played))
        return replies

    def close(self) -> None:
        """Leave the cluster, which drops what is not done; end it where it is our own."""
        self._closed = True
        self._ray.shutdown()

    def _connect(self, cpus: int, address: str) -> None:
        try:
            _knock(address)
            if address:
                self._init(address=address)
            else:
                self._start(cpus)
        except Exception as error:  # of many kinds: ConnectionError, RuntimeError, bare ones
            what = f"the Ray cluster at {address}" if address else "a Ray of this machine's own"
            raise EngineError(
                f"{what} cannot be reached or started ({_first_line(error)}); `ray status` at a "
                "node shows what runs."
            ) from error

    def _start(self, cpus: int) -> None:
        """A Ray of this machine's own; once more, since Ray gives a busy machine 15 seconds."""
        own: dict[str, Any] = {"num_cpus": cpus, "include_dashboard": False}
        try:
            self._init(address="local", **own)
        except Exception:  # of many kinds
            self._ray.shutdown()
            self._init(address="local", **own)

    def _init(self, **words: Any) -> None:
        with _own_signal_handlers():
            self._ray.init(logging_level="error", **words)

    def _require_room(self, wanted: dict[str, float]) -> None:
        """Refuse what no node will ever have, for which Ray would wait for ever."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if not any(all(node.get(k, 0) >= v for k, v in wanted.items()) for node in nodes):
            most = {name: max(node.get(name, 0) for node in nodes) for name in wanted}
            raise EngineError(
                f"a site asks for {wanted['CPU']:g} CPUs and {wanted['GPU']:g} GPUs of one Ray "
                f"node, and no node has both (at most {most['CPU']:g} and {most['GPU']:g}); lower "
                "machine.threads or machine.ray.gpus, or start larger nodes."
            )

    def _reply(self, instruction: Message, site: str, played: Any, timeout: float) -> Message:
        """A site's reply; an error reply where its worker died twice.

        Raises:
            TimeoutError: It has not come by then.
            EngineError: Ray could not run it, or is gone, or the engine was closed meanwhile.
        """
        ray = self._ray
        if self._closed:
            raise EngineError("the engine was closed while a site was at work.")
        try:
            # First without the bytes: a pull that is cut off by the timeout would begin again.
            if not ray.wait([played], timeout=timeout, fetch_local=False)[0]:
                raise TimeoutError
            result = ray.get(played)
        except ray.exceptions.RaySystemError as error:  # which is no answer of the site
            raise EngineError("Ray ended while a site was at work.") from error
        except ray.exceptions.RayTaskError as error:
            raise EngineError(f"Ray could not run site {site}: {_last_line(error)}") from error
        except ray.exceptions.RayError as error:
            reason = (
                f"the Ray worker of site {site} died twice {when(instruction)} "
                f"({type(error).__name__})."
            )
            return Message(Error(CLIENT_APP_CRASHED, reason), reply_to=instruction)
        return _whole(result.envelope, result.arrays)


def play(
    client_app: str, envelope: Envelope, arrays: Arrays, node_config: NodeConfig
) -> Played:  # pragma: no cover  (runs in Ray's processes)
    """Play a site, in a process of Ray that has loaded the ClientApp once.

    Raises:
        EngineError: This node does not see the site's files.
    """
    require_files(node_config)
    reply = answer(_loaded(client_app), _whole(envelope, arrays), node_config)
    if not reply.has_content():
        return Played(seal(reply), [])
    rest = Envelope(reply.metadata, without_arrays(reply.content), None)
    return Played(rest, _stored(reply.content))


@cache
def _loaded(client_app: str) -> Any:
    keep_freed_memory()
    return load_client_app(client_app)


def _stored(content: RecordDict) -> Arrays:
    return [(slot, np.frombuffer(piece, np.uint8)) for slot, piece in pieces_of(content)]


def _whole(envelope: Envelope, arrays: Arrays) -> Message:
    """The message, its arrays where Ray has them."""
    message = unseal(envelope)
    if arrays:
        records = records_of([slot for slot, _ in arrays], (array.data for _, array in arrays))
        message.content = RecordDict({**message.content, **records})
    return message


def _knock(address: str) -> None:
    """Does somebody listen there? Ray itself would wait for minutes, deaf to Ctrl-C.

    Raises:
        OSError: Nobody does.
        ValueError: It is no HOST:PORT.
    """
    if address and address != "auto":
        host, _, port = address.rpartition(":")
        if not host or "/" in address:
            raise ValueError("expected HOST:PORT or auto")
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECTING).close()


def _absolute(node_config: NodeConfig) -> NodeConfig:
    """Its paths from the root: processes of Ray work in folders of their own."""
    paths = {key: str(Path(str(node_config[key])).absolute()) for key in PLACES}
    return {**node_config, **paths}


@contextmanager
def _own_signal_handlers() -> Iterator[None]:
    """Undo what Ray does to signals: it would end a stopped command without our last words."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                if handler is not None:  # one that no Python code has set
                    signal.signal(number, handler)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def _last_line(error: Exception) -> str:
    return str(error).strip().rpartition("\n")[2]
