"""The server's side of the wire: instructions to Flower messages, replies to typed records."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import flwr.app
import numpy as np
from flwr.app import ArrayRecord, Message
from numpy.typing import NDArray

from echofm_core.contract import (
    BASE,
    Instruction,
    Record,
    SiteDescription,
    SiteResult,
    Update,
    Weights,
    group_of,
)
from echofm_core.data.formats.npy import unpack
from echofm_core.error_reply import code_of
from echofm_core.post_processing import Steps, from_server
from echofm_core.runtime.checksum import digest
from echofm_core.runtime.errors import PolicyError, RefusedUpdateError
from echofm_core.wire import decode, encode, from_records, to_array, to_records
from server.replies import NoReply

#: Longest sentence of a site that is kept.
LONGEST_REASON = 300
#: Seconds that a message outlives its round, for clocks that differ.
GRACE = 60.0

Reply = TypeVar("Reply", SiteDescription, Update, SiteResult)


@dataclass(frozen=True, slots=True)
class WiredModel:
    """A global model as it is sent.

    Attributes:
        record: Its arrays as they are sent, shared by all messages of a round.
        sent: Views into the record's bytes: what the sites start from.
        current: The model in float32; ``sent`` itself where no step changes it, so that there is
            one copy in memory. Layers below adapters are in it too, where they are sent.
        below: These, as ``base/NAME``; what a site starts from, and never sends back.
    """

    record: ArrayRecord
    sent: Weights
    current: Weights
    below: ArrayRecord = field(default_factory=ArrayRecord)


def wired(
    weights: dict[str, NDArray[np.float32]], steps: Steps, below: Collection[str] = ()
) -> WiredModel:
    """Take the steps before a model travels; where none changes it, ``weights`` is emptied.

    Args:
        weights: By full name.
        steps: Of the wire.
        below: Names of layers below adapters.
    """
    ready, record, beside = dict(from_server(steps, weights)), ArrayRecord(), ArrayRecord()
    unchanged = all(ready[name] is array for name, array in weights.items())
    if unchanged:
        weights.clear()
    for name in list(ready):
        array = to_array(ready.pop(name), flwr.app)
        if name in below:
            beside[f"{BASE}/{name}"] = array
        else:
            record[name] = array
    sent = {name: unpack(array.data) for name, array in record.items()}
    if not unchanged:
        return WiredModel(record, sent, weights, beside)
    base = {name.removeprefix(f"{BASE}/"): unpack(it.data) for name, it in beside.items()}
    return WiredModel(record, sent, {**sent, **base} if base else sent, beside)


@dataclass(frozen=True, slots=True)
class FrozenPart:
    """What a phase leaves as it is: each site gets it once, and then only its digest.

    Attributes:
        current: In float32.
        record: As it is sent; None where nothing is frozen.
        digest: Of what is sent; "" where nothing is.
        holders: Sites whose last reply counted, and so has it. A site that was late or in error
            gets it again: it may be new, or have lost its disk.
    """

    current: Weights = field(default_factory=dict)
    record: ArrayRecord | None = None
    digest: str = ""
    holders: set[str] = field(default_factory=set)

    def record_for(self, site: str) -> ArrayRecord | None:
        """What a site has to be sent now."""
        return None if site in self.holders else self.record

    def record_reply(self, site: str, *, counted: bool) -> None:
        """Take note of whether a site's reply counted."""
        (self.holders.add if counted else self.holders.discard)(site)


def split_frozen(
    weights: Weights, frozen: Collection[str], steps: Steps, below: Collection[str] = ()
) -> tuple[FrozenPart, Weights]:
    """What of a float32 model stays as it is, after the steps of the wire, and the rest.

    Args:
        weights: By full name.
        frozen: Groups, and full names.
        steps: Of the wire.
        below: Full names of what changes all the same.
    """
    still = {
        name: array
        for name, array in weights.items()
        if name not in below and (group_of(name) in frozen or name in frozen)
    }
    rest = {name: array for name, array in weights.items() if name not in still}
    if not still:
        return FrozenPart(), rest
    model = wired(still, steps)
    return FrozenPart(model.current, model.record, digest(model.sent)), rest


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
        seconds: Time after which nobody waits for the answer, but for :data:`GRACE`.
        frozen: What the node has to keep; None where it has, or there is nothing.
        extra: The algorithm's own arrays; None where it has none.
    """
    packed = {Record.ARRAYS: arrays, Record.FROZEN: frozen, Record.EXTRA: extra}
    ready: Mapping[str, ArrayRecord] = {name: it for name, it in packed.items() if it is not None}
    return Message(
        to_records(encode(instruction), flwr.app, ready),
        node,
        instruction.action.value,
        group_id=str(instruction.round),
        ttl=seconds + GRACE,
    )


def bytes_of(message: Message) -> int:
    """Bytes of the arrays of a message, without their headers."""
    records = (it for it in message.content.values() if isinstance(it, ArrayRecord))
    return sum(unpack(array.data).nbytes for record in records for array in record.values())


def read_reply(reply: Message | NoReply, kind: type[Reply]) -> Reply:
    """Read a site's reply.

    Args:
        reply: From the grid.
        kind: The record that was asked for.

    Raises:
        RefusedUpdateError: There is none, or the site answered with an error, or not with such a
            record.
    """
    if isinstance(reply, NoReply):
        raise RefusedUpdateError(reply.reason)
    if reply.has_error():
        words = reply.error.reason or f"error {reply.error.code} without a reason"
        raise RefusedUpdateError(
            f"the site answered with an error: {sentence(words)}", code_of(words)
        )
    return decode(from_records(reply.content, kind, flwr.app), kind)


def declined(reply: Message) -> bool:
    """Whether the site answered that it does not take part: by its policy, or unapproved."""
    return reply.has_error() and code_of(reply.error.reason or "") == PolicyError.exit_code


def sentence(words: object) -> str:
    """What a site had a hand in, as one line that a journal and a terminal can hold."""
    text = " ".join(str(words)[: 10 * LONGEST_REASON].split())
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]} ..."


def reasons(refused: Mapping[str, str]) -> str:
    """Why sites did not count, as the part of a sentence."""
    return "; ".join(f"{site}: {why.rstrip('.')}" for site, why in refused.items())
