"""The server's side of the wire: instructions to Flower messages, replies to typed records."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import flwr.app
import numpy as np
from flwr.app import ArrayRecord, Message
from numpy.typing import NDArray

from echofm_core.contract import Instruction, Record, SiteDescription, SiteResult, Update, Weights
from echofm_core.data.formats.npy import unpack
from echofm_core.post_processing import Steps, from_server
from echofm_core.runtime.errors import RefusedUpdateError
from echofm_core.wire import decode, encode, from_records, to_array, to_records

#: Longest sentence of a site that is kept.
LONGEST_REASON = 300

Reply = TypeVar("Reply", SiteDescription, Update, SiteResult)


@dataclass(frozen=True, slots=True)
class WiredModel:
    """A global model as it is sent.

    Attributes:
        record: Its arrays as they are sent, shared by all messages of a round.
        sent: Views into the record's bytes: what the sites start from.
        current: The model in float32; ``sent`` itself where no step changes it, so that there is
            one copy in memory.
    """

    record: ArrayRecord
    sent: Weights
    current: Weights


def wired(weights: dict[str, NDArray[np.float32]], steps: Steps) -> WiredModel:
    """Take the steps before a model travels; where none changes it, ``weights`` is emptied."""
    ready, record = dict(from_server(steps, weights)), ArrayRecord()
    unchanged = all(ready[name] is array for name, array in weights.items())
    if unchanged:
        weights.clear()
    for name in list(ready):
        record[name] = to_array(ready.pop(name), flwr.app)
    sent = {name: unpack(array.data) for name, array in record.items()}
    return WiredModel(record, sent, sent if unchanged else weights)


def to_message(
    instruction: Instruction,
    arrays: ArrayRecord | None,
    node: int,
    seconds: float,
    frozen: ArrayRecord | None = None,
    extra: ArrayRecord | None = None,
) -> Message:
    """One instruction for one node.

    Args:
        instruction: Its ``weights``, ``frozen`` and ``extra`` are empty; they come as records,
            which the messages of a round share.
        arrays: From :func:`wired`.
        node: Flower's node id.
        seconds: Time after which nobody waits for the answer.
        frozen: What the node has to keep; None where it has, or there is nothing.
        extra: The algorithm's own arrays; None where it has none.
    """
    packed: Mapping[Record, ArrayRecord | None] = {
        Record.ARRAYS: arrays,
        Record.FROZEN: frozen,
        Record.EXTRA: extra,
    }
    ready = {name.value: record for name, record in packed.items() if record is not None}
    return Message(
        to_records(encode(instruction), flwr.app, ready),
        node,
        instruction.action.value,
        group_id=str(instruction.round),
        ttl=seconds,
    )


def read_reply(reply: Message, kind: type[Reply]) -> Reply:
    """Read a site's reply.

    Args:
        reply: From the grid.
        kind: The record that was asked for.

    Raises:
        RefusedUpdateError: The site answered with an error, or not with such a record.
    """
    if reply.has_error():
        raise RefusedUpdateError(f"the site answered with an error: {error_of(reply)}")
    return decode(from_records(reply.content, kind, flwr.app), kind)


def error_of(reply: Message) -> str:
    """The sentence of an error reply, shortened to something a journal can hold."""
    return sentence(reply.error.reason or f"error {reply.error.code} without a reason")


def sentence(words: object) -> str:
    """What a site had a hand in, as one line that a journal and a terminal can hold."""
    text = " ".join(str(words)[: 10 * LONGEST_REASON].split())
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]} ..."
