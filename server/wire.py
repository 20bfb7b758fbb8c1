"""The server's side of the wire: instructions to Flower messages, replies to typed records."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from numpy.typing import NDArray

from echofm_core.contract import (
    SCHEMA_VERSION,
    Instruction,
    Phase,
    Record,
    Score,
    SiteDescription,
    SiteResult,
    Update,
    Weights,
)
from echofm_core.data.formats.npy import pack, unpack
from echofm_core.plan.federation import Wire
from echofm_core.runtime.errors import RefusedUpdateError

#: Longest sentence of a site that is kept.
LONGEST_REASON = 300
#: Numbers that a reply may hold beside its arrays; a plan of all tasks has a tenth of it.
MOST_NUMBERS = 10_000
#: What a score has beside its value, in the order of its fields.
SCORE_ENDS = ("/low", "/high", "/p")
#: Such as ``loss`` or ``federated/ef/mae/low``.
METRIC_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}(/[A-Za-z0-9_.-]{1,64}){0,3}")


@dataclass(frozen=True, slots=True)
class WiredModel:
    """A global model as it is sent.

    Attributes:
        record: Its arrays in wire precision, shared by all messages of a round.
        sent: Views into the record's bytes: what the sites start from.
        current: The model in float32; ``sent`` itself where the wire is fp32, so that there is
            one copy in memory.
    """

    record: ArrayRecord
    sent: Weights
    current: Weights


def wired(weights: dict[str, NDArray[np.float32]], precision: Wire) -> WiredModel:
    """Put a model in wire precision; with fp32 ``weights`` is emptied on the way."""
    dtype = precision.dtype
    record = ArrayRecord()
    for name in list(weights):
        array = weights.pop(name) if precision is Wire.FP32 else weights[name]
        data = pack(array.astype(dtype, copy=False))
        record[name] = Array(dtype, array.shape, "numpy.ndarray", data)
    sent = weights_of(record)
    return WiredModel(record, sent, sent if precision is Wire.FP32 else weights)


def weights_of(record: ArrayRecord) -> Weights:
    """Read-only views into the bytes of a record.

    Raises:
        ValueError: An array is not what it says.
    """
    return {name: unpack(array.data) for name, array in record.items()}


def to_message(
    instruction: Instruction,
    arrays: ArrayRecord | None,
    node: int,
    seconds: float,
    frozen: ArrayRecord | None = None,
) -> Message:
    """One instruction for one node.

    Args:
        instruction: Its ``weights`` and ``frozen`` are ignored; they come as records.
        arrays: From :func:`array_record`.
        node: Flower's node id.
        seconds: Time after which nobody waits for the answer.
        frozen: What the node has to keep; None where it has, or there is nothing.
    """
    config = ConfigRecord(
        {
            "schema": SCHEMA_VERSION,
            "round": instruction.round,
            "plan": instruction.plan,
            "plan-hash": instruction.plan_hash,
            "run": instruction.run,
            "frozen-digest": instruction.frozen_digest,
            "setting-names": list(instruction.settings),
            "setting-values": [float(value) for value in instruction.settings.values()],
        }
    )
    records: dict[str, ArrayRecord | ConfigRecord | MetricRecord] = {Record.CONFIG.value: config}
    if arrays is not None:
        records[Record.ARRAYS.value] = arrays
    if frozen is not None:
        records[Record.FROZEN.value] = frozen
    return Message(
        RecordDict(records),
        node,
        instruction.action.value,
        group_id=str(instruction.round),
        ttl=seconds,
    )


def error_of(reply: Message) -> str:
    """The sentence of an error reply, shortened to something a journal can hold."""
    return sentence(reply.error.reason or f"error {reply.error.code} without a reason")


def sentence(words: object) -> str:
    """What a site had a hand in, as one line that a journal and a terminal can hold."""
    text = " ".join(str(words)[: 10 * LONGEST_REASON].split())
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]} ..."


def to_update(reply: Message) -> Update:
    """Read the reply to a training instruction.

    Raises:
        RefusedUpdateError: A record or key is missing, or is not of its type.
    """
    config = _config(reply)
    arrays = reply.content.get(Record.ARRAYS.value)
    metrics = reply.content.get(Record.METRICS.value)
    if not isinstance(arrays, ArrayRecord) or not isinstance(metrics, MetricRecord):
        raise RefusedUpdateError("the reply lacks the records `arrays` and `metrics`.")
    try:
        return Update(
            site=str(config["site"]),
            phase=Phase(str(config["phase"])),
            round=_whole(config["round"]),
            plan_hash=str(config["plan-hash"]),
            weights=weights_of(arrays),
            counts=_numbers(config, "count"),
            metrics=_metrics(metrics),
            checksum=_whole(config["checksum"]),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise RefusedUpdateError(f"the reply is malformed: {_why(error)}.") from None


def to_description(reply: Message) -> SiteDescription:
    """Read the reply to ``query.describe``.

    Raises:
        RefusedUpdateError: As :func:`to_update`.
    """
    config = _config(reply)
    try:
        return SiteDescription(
            site=str(config["site"]),
            train_clips=_whole(config["train-clips"]),
            train_patients=_whole(config["train-patients"]),
            labels=_numbers(config, "label"),
            test_labels=_numbers(config, "test-label"),
            quarantined=_whole(config["quarantined"]),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise RefusedUpdateError(f"the description is malformed: {_why(error)}.") from None


def to_result(reply: Message) -> SiteResult:
    """Read the reply to ``evaluate.site``.

    Raises:
        RefusedUpdateError: As :func:`to_update`.
    """
    config = _config(reply)
    metrics = reply.content.get(Record.METRICS.value)
    if not isinstance(metrics, MetricRecord):
        raise RefusedUpdateError("the reply lacks the record `metrics`.")
    try:
        return SiteResult(
            site=str(config["site"]),
            plan_hash=str(config["plan-hash"]),
            digest=str(config["digest"]),
            patients=_numbers(config, "count"),
            scores=_scores(_metrics(metrics)),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise RefusedUpdateError(f"the result is malformed: {_why(error)}.") from None


def _config(reply: Message) -> ConfigRecord:
    """The config record of a reply that is no error and speaks our schema."""
    if reply.has_error():
        raise RefusedUpdateError(f"the site answered with an error: {error_of(reply)}")
    config = reply.content.get(Record.CONFIG.value)
    if not isinstance(config, ConfigRecord):
        raise RefusedUpdateError("the reply lacks the record `config`.")
    if (schema := config.get("schema")) != SCHEMA_VERSION:
        raise RefusedUpdateError(
            f"the site speaks schema {schema!r}, the server {SCHEMA_VERSION}; "
            "install the same version of echofm-federated on both."
        )
    return config


def _numbers(config: ConfigRecord, kind: str) -> dict[str, int]:
    """A mapping that travels as two lists, ``KIND-names`` and ``KIND-values``."""
    names, values = config[f"{kind}-names"], config[f"{kind}-values"]
    if not isinstance(names, list) or not isinstance(values, list) or len(names) != len(values):
        raise ValueError(f"`{kind}-names` and `{kind}-values` do not pair")
    if len(names) > MOST_NUMBERS:
        raise ValueError(f"`{kind}-names` holds {len(names)}, at most {MOST_NUMBERS} are taken")
    return {str(name): _whole(value) for name, value in zip(names, values, strict=True)}


def _metrics(record: MetricRecord) -> dict[str, float]:
    """Single numbers only, under plain names: a list could be one number a patient."""
    if len(record) > MOST_NUMBERS:
        raise ValueError(f"it holds {len(record)} numbers, at most {MOST_NUMBERS} are taken")
    for name, value in record.items():
        if not METRIC_NAME.fullmatch(name):
            raise ValueError(f"{name[:80]!r} is no name of a metric")
        if not isinstance(value, int | float):
            raise ValueError(f"{name} is a {type(value).__name__}, expected one number")
    return {name: float(value) for name, value in record.items()}  # type: ignore[arg-type]


def _scores(numbers: dict[str, float]) -> dict[str, Score]:
    """Four numbers a score: ``NAME``, ``NAME/low``, ``NAME/high`` and ``NAME/p``."""
    names = [name for name in numbers if not name.endswith(SCORE_ENDS)]
    if len(numbers) != (1 + len(SCORE_ENDS)) * len(names):
        raise ValueError("its scores do not come as value, low, high and p")
    return {name: Score(*(numbers[f"{name}{end}"] for end in ("", *SCORE_ENDS))) for name in names}


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"expected a whole number, got {type(value).__name__}")
    return value


def _why(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error)
