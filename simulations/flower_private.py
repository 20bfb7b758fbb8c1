"""All that we take from Flower's private parts, in one place.

``tests/simulations/test_flower_private.py`` fails loudly when one of them moves. Outside of a
Flower process Flower does not know who we are, and it then refuses to make messages; a
simulation plays that process, so it says so.
"""

from dataclasses import dataclass

from flwr.app import Context, Error, Message, Metadata, RecordDict
from flwr.app.message.message import make_message
from flwr.supercore.run import Run as Run
from flwr.supercore.task_identity import TaskIdentity

#: Flower's code for "the ClientApp's process stopped answering".
CLIENT_APP_CRASHED = 8

RUN_ID = 1
SERVER_NODE = 1

NodeConfig = dict[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message in parts that travel between processes."""

    metadata: Metadata
    content: RecordDict | None
    error: Error | None


def become_server() -> None:
    """Let this process make instructions; leaves a real Flower process as it is."""
    try:
        _ = TaskIdentity.run_id
    except RuntimeError:
        TaskIdentity.run_id = RUN_ID
        TaskIdentity.node_id = SERVER_NODE
        TaskIdentity.task_id = 1


def empty_run() -> Run:
    """A run without app or owner, for grids that are asked for one."""
    return Run.create_empty(RUN_ID)


def deliver(message: Message, message_id: str) -> Message:
    """The message as its receiver sees it: with an id, in records of its own.

    The records are new and their bytes shared, so that what one site removes, others still see.
    """
    names = {key.removeprefix("_"): value for key, value in vars(message.metadata).items()}
    names.pop("delivered_at", None)
    content = RecordDict({key: record.copy() for key, record in message.content.items()})
    return make_message(Metadata(**{**names, "message_id": message_id}), content)


def seal(message: Message) -> Envelope:
    """Take a message apart."""
    content = message.content if message.has_content() else None
    return Envelope(message.metadata, content, message.error if message.has_error() else None)


def unseal(envelope: Envelope) -> Message:
    """Put a message together again."""
    return make_message(envelope.metadata, envelope.content, envelope.error)


def fresh_context(node: int, node_config: NodeConfig) -> Context:
    """What a ClientApp gets beside its message; nothing of an earlier message is in it."""
    return Context(RUN_ID, node, dict(node_config), RecordDict(), {})
