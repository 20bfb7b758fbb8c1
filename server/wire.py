"""The server's side of the wire: instructions to Flower messages, replies to typed records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from numpy.typing import NDArray

from echofm_core.contract import (
    SCHEMA_VERSION,
    Instruction,
    Phase,
    Record,
    SiteDescription,
    SiteResult,
    Update,
    Weights,
)
from echofm_core.errors import RefusedUpdateError
from echofm_core.npy import pack, unpack
from echofm_core.plan import Wire

#: Longest sentence of a site that is kept.
LONGEST_REASON = 300


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
    text = reply.error.reason or f"error {reply.error.code} without a reason"
    text = " ".join(text.split())
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
            metrics=_metrics(metrics),
            counts=_numbers(config, "count"),
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
    return {str(name): _whole(value) for name, value in zip(names, values, strict=True)}


def _metrics(record: MetricRecord) -> Mapping[str, float]:
    """Single numbers only."""
    return {name: float(value) for name, value in record.items() if isinstance(value, int | float)}


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"expected a whole number, got {type(value).__name__}")
    return value


def _why(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error)
