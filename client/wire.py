"""The site's side of the wire: Flower messages to instructions, typed records to replies."""

from collections.abc import Mapping
from types import MappingProxyType

import flwr.app
from flwr.app import Message

from echofm_core.contract import Action, Instruction, Update, Weights
from echofm_core.runtime.checksum import checksum
from echofm_core.wire import AnyRecord, decode, encode, from_records, to_records


def to_instruction(message: Message) -> Instruction:
    """Read what the server wants; the weights are views into the message's bytes.

    Raises:
        FederationError: The message is not one that this version understands.
    """
    content = from_records(message.content, Instruction, flwr.app)
    return decode(content, Instruction, action=Action(message.metadata.message_type))


def to_reply(record: AnyRecord, message: Message) -> Message:
    """Answer a message."""
    return Message(to_records(encode(record), flwr.app), reply_to=message)


def make_update(
    *,
    site: str,
    instruction: Instruction,
    weights: Weights,
    counts: Mapping[str, int],
    metrics: Mapping[str, float],
    extra: Weights = MappingProxyType({}),
    numbers: Mapping[str, float] = MappingProxyType({}),
) -> Update:
    """What leaves the site in answer to an instruction, with a checksum of its arrays.

    Args as of :class:`Update`; weights as they travel.
    """
    return Update(
        site=site,
        phase=instruction.phase,
        round=instruction.round,
        plan_hash=instruction.plan_hash,
        weights=weights,
        counts=counts,
        # Stock strategies weight by this key.
        metrics={**metrics, "num-examples": float(max(counts.values(), default=0))},
        checksum=checksum({**weights, **extra}),
        extra=extra,
        numbers=numbers,
    )
