"""Worker processes, each of which plays one site at a time.

Weights go to a worker and back as files in memory (``/dev/shm`` where there is one) that both
sides map: what is the same for ten sites is written once. A site whose worker dies is run once more
in a new one while no other site is, since these may have taken the memory; a round gives the same
bits again. A second death is an error of that site.
"""

import importlib
import shutil
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from flwr.app import Error, Message, RecordDict
from flwr.clientapp import ClientApp

from client.answers import refusal
from echofm_core.contract import Action, Record
from echofm_core.runtime.errors import EngineError
from echofm_core.runtime.pool import Pool, PoolClosedError, WorkerDiedError, WorkerStartError
from server.parking import Parked, park, scratch_path, unpark, without_arrays
from simulations.flower_private import (
    CLIENT_APP_CRASHED,
    Envelope,
    NodeConfig,
    fresh_context,
    seal,
    unseal,
)
from simulations.gpus import Packing
from simulations.memory import SharedFolder, keep_freed_memory

#: What a site's first message loads: most of a worker's start.
PRELOADED = ("client.app", "client.request", "client.training", "client.testing")


@dataclass(frozen=True, slots=True)
class PackedMessage:
    """What goes through the pipe, both ways: a message without its arrays, and where these are."""

    envelope: Envelope
    arrays: Parked | None = None
    node_config: NodeConfig = field(default_factory=dict)


#: Gives a site's reply, once it is there; waits some seconds for it, and raises TimeoutError then.
Pending = Callable[[float], Message]


class Runner(Protocol):
    """Plays sites: in this process, in others, or on other machines."""

    def submit(
        self, messages: Sequence[Message], node_configs: Sequence[NodeConfig]
    ) -> list[Pending]:
        """Take instructions, one a site; their replies in the same order."""

    def close(self) -> None:
        """End all work, whatever is done."""


class SitePool:
    """Workers that have loaded a ClientApp, and the folder that they share with this process."""

    def __init__(self, workers: int, client_app: str) -> None:
        self._shared = SharedFolder()
        folder = self._shared.path
        self._pool = Pool[PackedMessage, PackedMessage](
            partial(_prepare, client_app, folder),
            workers,
            preload=PRELOADED,
            retry=True,
            orphaned=partial(shutil.rmtree, folder, ignore_errors=True),
        )

    def submit(
        self, messages: Sequence[Message], node_configs: Sequence[NodeConfig]
    ) -> list[Pending]:
        """Queue instructions, whose arrays are taken out of them.

        Raises:
            EngineError: The engine was closed.
        """
        parked: dict[tuple[int, ...], Parked] = {}
        replies = list[Pending]()
        for message, node_config in zip(messages, node_configs, strict=True):
            if (same := shared_arrays(message)) not in parked:
                path = scratch_path(self._shared.path, "arrays")
                parked[same] = park(message.content, path)
                # In this process the file lives as long as somebody is to read it.
                weakref.finalize(parked[same], path.unlink, missing_ok=True)
            message.content = without_arrays(message.content)
            try:
                future = self._pool.submit(PackedMessage(seal(message), parked[same], node_config))
            except PoolClosedError:
                raise EngineError("the engine was closed.") from None
            site = str(node_config.get("site", message.metadata.dst_node_id))
            replies.append(partial(_reply, message, site, future))
        return replies

    def close(self) -> None:
        """End all workers, whatever they do."""
        self._pool.close()
        self._shared.remove()


def shared_arrays(message: Message) -> tuple[int, ...]:
    """Which bytes a message carries: equal for messages that share all of their arrays."""
    records = message.content.array_records.values()
    return tuple(id(array.data) for record in records for array in record.values())


def when(message: Message) -> str:
    """What a message asks for, e.g. ``at train.pretrain, round 3``."""
    about = message.metadata
    return f"at {about.message_type}" + (f", round {about.group_id}" if about.group_id else "")


def load_client_app(where: str) -> ClientApp:
    """Import a ClientApp by ``package.module:name``, as in an app's ``pyproject.toml``.

    Raises:
        EngineError: There is none.
    """
    module, _, name = where.partition(":")
    try:
        app = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise EngineError(f"client app {where} cannot be loaded ({error}).") from error
    if not isinstance(app, ClientApp):
        raise EngineError(f"client app {where} is a {type(app).__name__}, expected a ClientApp.")
    return app


def answer(app: ClientApp, message: Message, node_config: NodeConfig) -> Message:
    """The site's reply; where the app raises, an error that names the exception's class only.

    The traceback is in the site's log, as where the app answers for itself.
    """
    context = fresh_context(message.metadata.dst_node_id, node_config)
    try:
        return app(message, context)
    except Exception as error:
        return refusal(error, message, context)


def answer_with_room(
    app: ClientApp, message: Message, node_config: NodeConfig, packing: Packing
) -> Message:
    """The site's reply; where it trains on a GPU, on the worker's own, once there is room."""
    shared = node_config.get("device") in ("auto", "cuda") and node_config.get("devices") == 1
    config = message.content.config_records.get(Record.CONFIG.value)
    plan = str(config.get("plan-hash") if config else None)
    if message.metadata.message_type == Action.DESCRIBE or not (shared and packing.possible):
        return answer(app, message, node_config)
    try:
        with packing.room(f"{message.metadata.message_type} {plan}") as gpu:
            return answer(app, message, {**node_config, "device": f"cuda:{gpu}"})
    except Exception as error:  # of the driver
        return refusal(error, message, fresh_context(message.metadata.dst_node_id, node_config))


def _reply(
    instruction: Message, site: str, future: Future[PackedMessage], timeout: float
) -> Message:
    """The reply of a site that is being played; an error reply where its worker died twice.

    Raises:
        TimeoutError: It has not come by then.
        EngineError: No worker could be started, or the engine was closed meanwhile.
    """
    try:
        return _unpacked(future.result(timeout), delete=True)
    except WorkerDiedError as death:
        reason = f"the worker process of site {site} {death}, twice {when(instruction)}."
        error = Error(CLIENT_APP_CRASHED, reason)
        return Message(error, reply_to=instruction)
    except WorkerStartError as fault:
        raise EngineError(f"a simulation worker could not be started: {fault}") from None
    except PoolClosedError:  # which is no answer of the site
        raise EngineError("the engine was closed while a site was at work.") from None


def _prepare(client_app: str, folder: Path) -> Callable[[PackedMessage], PackedMessage]:
    keep_freed_memory()
    return partial(_play, load_client_app(client_app), folder, Packing(folder))


def _play(app: ClientApp, folder: Path, packing: Packing, packed: PackedMessage) -> PackedMessage:
    message = _unpacked(packed, delete=False)
    reply = answer_with_room(app, message, packed.node_config, packing)
    try:
        return _packed(reply, folder)
    except OSError as error:  # no room for its arrays
        context = fresh_context(message.metadata.dst_node_id, packed.node_config)
        return _packed(refusal(error, message, context), folder)


def _packed(message: Message, folder: Path) -> PackedMessage:
    if not message.has_content() or not message.content.array_records:
        return PackedMessage(seal(message))
    arrays = park(message.content, scratch_path(folder, "reply"))
    return PackedMessage(Envelope(message.metadata, without_arrays(message.content), None), arrays)


def _unpacked(packed: PackedMessage, *, delete: bool) -> Message:
    """The message, its arrays mapped from their file."""
    message = unseal(packed.envelope)
    if packed.arrays and packed.arrays.slots:
        message.content = RecordDict({**message.content, **unpark(packed.arrays)})
        if delete:
            packed.arrays.path.unlink(missing_ok=True)
    return message
