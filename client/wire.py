"""The site's side of the wire: Flower messages to instructions, typed records to replies."""

from __future__ import annotations

from collections.abc import Mapping

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from echofm_core.contract import (
    SCHEMA_VERSION,
    Action,
    Instruction,
    Phase,
    Record,
    SiteDescription,
    SiteResult,
    Update,
    Weights,
)
from echofm_core.data.formats.npy import pack, unpack
from echofm_core.plan.federation import Wire
from echofm_core.runtime.checksum import checksum
from echofm_core.runtime.errors import FederationError


def to_instruction(message: Message) -> Instruction:
    """Read what the server wants; the weights are views into the message's bytes.

    Raises:
        FederationError: The message is not one that this version understands.
    """
    config = message.content.get(Record.CONFIG.value)
    if not isinstance(config, ConfigRecord):
        raise FederationError("the instruction lacks the record `config`.")
    if (schema := config.get("schema")) != SCHEMA_VERSION:
        raise FederationError(
            f"the server speaks schema {schema!r}, this site {SCHEMA_VERSION}; install the same "
            "version of echofm-federated on both."
        )
    try:
        return Instruction(
            action=Action(message.metadata.message_type),
            round=_whole(config["round"]),
            plan=str(config["plan"]),
            plan_hash=str(config["plan-hash"]),
            run=str(config["run"]),
            weights=_weights(message, Record.ARRAYS),
            frozen=_weights(message, Record.FROZEN),
            frozen_digest=str(config["frozen-digest"]),
            settings=_settings(config),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise FederationError(f"the instruction is malformed ({type(error).__name__}).") from None


def _weights(message: Message, record: Record) -> Weights:
    arrays = message.content.get(record.value, ArrayRecord())
    if not isinstance(arrays, ArrayRecord):
        raise TypeError(f"the record {record} holds no arrays")
    return {name: unpack(array.data) for name, array in arrays.items()}


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"expected a whole number, got {type(value).__name__}")
    return value


def _settings(config: ConfigRecord) -> dict[str, float]:
    names, values = config["setting-names"], config["setting-values"]
    if not isinstance(names, list) or not isinstance(values, list):
        raise TypeError("settings are two lists")
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    return dict(zip(map(str, names), numbers, strict=True))


def describe_reply(about: SiteDescription, message: Message) -> Message:
    """Answer ``query.describe``."""
    config = {
        "schema": SCHEMA_VERSION,
        "site": about.site,
        "train-clips": about.train_clips,
        "train-patients": about.train_patients,
        "quarantined": about.quarantined,
        **_pairs("label", about.labels),
        **_pairs("test-label", about.test_labels),
    }
    return _reply(message, config, {})


def update_reply(update: Update, message: Message) -> Message:
    """Answer a training instruction; the weights are already in wire precision."""
    config = {
        "schema": SCHEMA_VERSION,
        "site": update.site,
        "phase": update.phase.value,
        "round": update.round,
        "plan-hash": update.plan_hash,
        "checksum": update.checksum,
        **_pairs("count", update.counts),
    }
    arrays = ArrayRecord()
    for name, array in update.weights.items():
        arrays[name] = Array(str(array.dtype), array.shape, "numpy.ndarray", pack(array))
    # Stock strategies weight by this key.
    metrics = {**update.metrics, "num-examples": float(max(update.counts.values(), default=0))}
    return _reply(message, config, metrics, arrays)


def result_reply(result: SiteResult, message: Message) -> Message:
    """Answer ``evaluate.site``."""
    config = {
        "schema": SCHEMA_VERSION,
        "site": result.site,
        "plan-hash": result.plan_hash,
        "digest": result.digest,
        **_pairs("count", result.patients),
    }
    metrics: dict[str, float] = {}
    for name, score in result.scores.items():
        ends = {"low": score.low, "high": score.high, "p": score.p}
        metrics |= {name: score.value, **{f"{name}/{end}": value for end, value in ends.items()}}
    return _reply(message, config, metrics)


def make_update(
    *,
    site: str,
    phase: Phase,
    instruction: Instruction,
    weights: Weights,
    counts: Mapping[str, int],
    metrics: Mapping[str, float],
    precision: Wire,
) -> Update:
    """Round weights to wire precision and take their checksum."""
    dtype = precision.dtype
    wired = {name: array.astype(dtype, copy=False) for name, array in weights.items()}
    return Update(
        site=site,
        phase=phase,
        round=instruction.round,
        plan_hash=instruction.plan_hash,
        weights=wired,
        counts=counts,
        metrics=metrics,
        checksum=checksum(wired),
    )


def _pairs(kind: str, values: Mapping[str, int]) -> dict[str, list[str] | list[int]]:
    """A mapping as two lists: names may hold anything, and records hold no mappings."""
    return {f"{kind}-names": list(values), f"{kind}-values": [int(v) for v in values.values()]}


def _reply(
    message: Message,
    config: Mapping[str, object],
    metrics: Mapping[str, float],
    arrays: ArrayRecord | None = None,
) -> Message:
    records = RecordDict(
        {
            Record.CONFIG.value: ConfigRecord(dict(config)),  # type: ignore[arg-type]
            Record.METRICS.value: MetricRecord({k: float(v) for k, v in metrics.items()}),
        }
    )
    if arrays is not None:
        records[Record.ARRAYS.value] = arrays
    return Message(records, reply_to=message)
