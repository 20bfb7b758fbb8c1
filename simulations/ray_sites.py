"""Plays sites on a Ray cluster, for simulations that outgrow one machine.

A site's work in a round is a Ray task. Weights that several sites are sent lie in Ray's object
store once, and tasks read them there without a copy. Ray starts a task whose worker or node died
once more; so may a site that was done, where its answer was lost with a node: a round gives the
same bits again. Messages are pickled between machines of one owner: a Ray cluster runs whatever
reaches its ports, so it belongs behind the owner's firewall, and no hospital's site is part of it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Error, Message, RecordDict
from numpy.typing import NDArray

from echofm_core.plan.engine import RayConfig
from echofm_core.plan.ray_address import require_ray
from echofm_core.runtime.errors import EngineError
from echofm_core.training.config import ExecutionConfig
from server.parking import Slot, pieces_of, records_of, without_arrays
from simulations.flower_private import CLIENT_APP_CRASHED, Envelope, NodeConfig, seal, unseal
from simulations.memory import keep_freed_memory
from simulations.ray_cluster import connect, require_room
from simulations.ray_nodes import require_files, require_nodes
from simulations.workers import Pending, answer, load_client_app, shared_arrays, when

#: Arrays with their bytes, which Ray does not copy on the way to a process of the same machine.
Arrays = list[tuple[Slot, NDArray[np.uint8]]]

#: Keys of a node config that are paths.
PLACES = ("manifest", "store", "state")


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
        self._ray: Any = connect(config.address, workers * execution.threads)
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
            require_room(self._ray, execution.threads, config.gpus)
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


def _absolute(node_config: NodeConfig) -> NodeConfig:
    """Its paths from the root: processes of Ray work in folders of their own."""
    paths = {key: str(Path(str(node_config[key])).absolute()) for key in PLACES}
    return {**node_config, **paths}


def _last_line(error: Exception) -> str:
    return str(error).strip().rpartition("\n")[2]
