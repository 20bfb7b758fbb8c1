"""The one codec for what crosses the wire: records of ``contract.py`` to message content and back.

Symptom: two sides that each write and read keys by hand drift apart, and the difference shows at a
hospital. Reason: a message holds no records, only texts, numbers and arrays by name. Protocol: a
field's name is its key (``plan_hash``: ``plan-hash``) and its annotation says how it travels, so
that a new field of a record needs no line here; :data:`SCHEMA_VERSION` goes first. What can still
go wrong: a record from the other side is well formed and a lie; admission judges that.

Flower's record classes are passed in (``flwr.app``); nothing here imports it.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from types import ModuleType
from typing import Any, TypeVar, get_type_hints

import numpy as np
from numpy.typing import NDArray

from echofm_core.contract import (
    SCHEMA_VERSION,
    Instruction,
    Record,
    Score,
    SiteDescription,
    SiteResult,
    Update,
    Weights,
)
from echofm_core.data.formats.bfloat16 import type_name
from echofm_core.data.formats.npy import pack, unpack
from echofm_core.runtime.errors import EchoFMError, FederationError, RefusedUpdateError

#: Most numbers in one mapping of a message; a plan of all tasks has a tenth of it.
MOST_NUMBERS = 10_000
#: Names of numbers, such as ``loss`` or ``federated/ef/mae/low``.
NUMBER_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}(/[A-Za-z0-9_.-]{1,64}){0,3}")
#: Ends of the names of a score's numbers, in the order of its fields.
SCORE_ENDS = ("", "/low", "/high", "/p")

AnyRecord = TypeVar("AnyRecord", Instruction, SiteDescription, Update, SiteResult)


#: What a record is called in errors.
_NOUNS: Mapping[type, str] = {
    Instruction: "instruction",
    SiteDescription: "description",
    Update: "reply",
    SiteResult: "result",
}


class _Form(Enum):
    """How the values of a field travel."""

    TEXT = "text"
    WHOLE = "a whole number"
    COUNTS = "whole numbers by name, as two lists: a config holds no mapping"
    SETTINGS = "numbers by name, as two lists"
    METRICS = "numbers by name, in their record"
    SCORES = "four such numbers each"
    ARRAYS = "arrays by name, in a record of their own"


_FORMS: Mapping[Any, _Form] = {
    str: _Form.TEXT,
    int: _Form.WHOLE,
    Mapping[str, int]: _Form.COUNTS,
    Mapping[str, float]: _Form.SETTINGS,
    Mapping[str, Score]: _Form.SCORES,
    Weights: _Form.ARRAYS,
}


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of a record, and its key in the config or the name of its record of arrays."""

    name: str
    key: str
    form: _Form
    hint: Any
    required: bool


def _fields(kind: type) -> Iterator[_Field]:
    """Fields of a record that are keys of a message."""
    hints = get_type_hints(kind)
    for item in dataclasses.fields(kind):
        if (kind, item.name) == (Instruction, "action"):
            continue
        hint, key = hints[item.name], item.name.replace("_", "-")
        choice = isinstance(hint, type) and issubclass(hint, StrEnum)
        form = _Form.TEXT if choice else _FORMS[hint]
        if key == "weights":
            key = Record.ARRAYS.value  # where stock strategies look
        elif key == Record.METRICS:
            form = _Form.METRICS
        yield _Field(item.name, key, form, hint, item.default_factory is dataclasses.MISSING)


#: Record -> its fields; a field of a type that cannot travel is an error at import.
_FIELDS: Mapping[type, tuple[_Field, ...]] = {kind: tuple(_fields(kind)) for kind in _NOUNS}


@dataclass(kw_only=True, slots=True)
class Content:
    """What a message holds, in plain types.

    Attributes:
        config: Key -> text, number, or list of them.
        metrics: Name -> number; None where the message has none.
        arrays: Name of a record -> array name -> array.
    """

    config: dict[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] | None = None
    arrays: dict[str, Weights] = field(default_factory=dict)


def encode(record: Instruction | SiteDescription | Update | SiteResult) -> Content:
    """Put a record into a message's content; an instruction's ``action`` is the message's type."""
    content = Content(config={"schema": SCHEMA_VERSION})
    for item in _FIELDS[type(record)]:
        value = getattr(record, item.name)
        match item.form:
            case _Form.ARRAYS:
                if value or item.required:
                    content.arrays[item.key] = value
            case _Form.METRICS:
                content.metrics = {name: float(number) for name, number in value.items()}
            case _Form.SCORES:
                content.metrics = {
                    f"{name}{end}": float(number)
                    for name, score in value.items()
                    for end, number in zip(SCORE_ENDS, dataclasses.astuple(score), strict=True)
                }
            case _Form.COUNTS | _Form.SETTINGS:
                number = int if item.form is _Form.COUNTS else float
                content.config[f"{item.key}-names"] = list(value)
                content.config[f"{item.key}-values"] = [number(v) for v in value.values()]
            case _Form.TEXT:
                content.config[item.key] = str(value)
            case _Form.WHOLE:
                content.config[item.key] = int(value)
    return content


def decode(content: Content, kind: type[AnyRecord], **given: Any) -> AnyRecord:
    """Read a record from a message's content, strictly.

    Args:
        content: From :func:`from_records`.
        kind: The record that is expected.
        given: Fields that the message says elsewhere.

    Raises:
        FederationError: An instruction has another schema version, lacks a record or a key, or
            holds what is not of its type.
        RefusedUpdateError: The same of what a site sent.
    """
    if not content.config:
        raise _bad(kind, f"lacks the record `{Record.CONFIG}`")
    if (schema := content.config.get("schema")) != SCHEMA_VERSION:
        ends = ("the server", "this site") if kind is Instruction else ("the site", "the server")
        raise _error(kind)(
            f"{ends[0]} speaks schema {schema!r}, {ends[1]} {SCHEMA_VERSION}; install the same "
            "version of echofm-federated on both."
        )
    wanted = [item for item in _FIELDS[kind] if item.name not in given]
    needed = [item.key for item in wanted if item.form is _Form.ARRAYS and item.required]
    lacks = not content.arrays.keys() >= set(needed)
    if any(item.form in (_Form.METRICS, _Form.SCORES) for item in wanted):
        needed.append(Record.METRICS.value)
        lacks |= content.metrics is None
    if lacks:
        names = " and ".join(f"`{name}`" for name in needed)
        raise _bad(kind, f"lacks the record{'s' * (len(needed) > 1)} {names}")
    with _well_formed(kind):
        return kind(**given, **{item.name: _read(content, item) for item in wanted})


def to_records(content: Content, types: ModuleType, packed: Mapping[str, Any] | None = None) -> Any:
    """A content as Flower's ``RecordDict``.

    Args:
        content: From :func:`encode`.
        types: Flower's classes of records: the module ``flwr.app``.
        packed: Array records that are ready, by name; many messages share them.
    """
    records = types.RecordDict({Record.CONFIG.value: types.ConfigRecord(content.config)})
    if content.metrics is not None:
        records[Record.METRICS.value] = types.MetricRecord(dict(content.metrics))
    for name, weights in content.arrays.items():
        records[name] = types.ArrayRecord()
        for key, array in weights.items():
            records[name][key] = to_array(array, types)
    records.update(packed or {})
    return records


def to_array(array: NDArray[np.floating], types: ModuleType) -> Any:
    """An array as Flower's ``Array``, made with one copy."""
    return types.Array(type_name(array), array.shape, "numpy.ndarray", pack(array))


def from_records(records: Mapping[str, Any], kind: type[AnyRecord], types: ModuleType) -> Content:
    """The content of a message, its arrays as read-only views of the message's bytes.

    Args:
        records: Flower's ``RecordDict``. Its views by kind (``array_records`` ...) refer back to
            it: a message that was looked at so stays in memory until garbage is collected.
        kind: The record that is expected.
        types: Flower's classes.

    Raises:
        FederationError, RefusedUpdateError: An array is not what it says; see :func:`decode`.
    """
    config, metrics = records.get(Record.CONFIG.value), records.get(Record.METRICS.value)
    with _well_formed(kind):
        return Content(
            config=dict(config) if isinstance(config, types.ConfigRecord) else {},
            metrics=metrics if isinstance(metrics, types.MetricRecord) else None,
            arrays={
                name: {key: unpack(array.data) for key, array in record.items()}
                for name, record in records.items()
                if isinstance(record, types.ArrayRecord)
            },
        )


@contextmanager
def _well_formed(kind: type) -> Iterator[None]:
    """Turn what is wrong with a message into the error of its reader."""
    try:
        yield
    except (KeyError, ValueError, TypeError) as error:
        why = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise _bad(kind, f"is malformed: {why}") from None


def _error(kind: type) -> type[EchoFMError]:
    return FederationError if kind is Instruction else RefusedUpdateError


def _bad(kind: type, why: str) -> EchoFMError:
    return _error(kind)(f"the {_NOUNS[kind]} {why}.")


def _read(content: Content, item: _Field) -> Any:
    """The value of one field.

    Raises:
        KeyError, ValueError, TypeError: It is missing, or is not of its type.
    """
    match item.form:
        case _Form.ARRAYS:
            return content.arrays.get(item.key, {})
        case _Form.METRICS:
            return _numbers(content.metrics or {})
        case _Form.SCORES:
            return _scores(_numbers(content.metrics or {}))
        case _Form.COUNTS:
            return {name: _whole(value) for name, value in _pairs(content.config, item.key)}
        case _Form.SETTINGS:
            return _numbers(dict(_pairs(content.config, item.key)))
        case _Form.WHOLE:
            return _whole(content.config[item.key])
        case _Form.TEXT:
            value = content.config[item.key]
            if not isinstance(value, str):
                raise TypeError(f"expected a text as {item.key}, got {type(value).__name__}")
            return item.hint(value)


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"expected a whole number, got {type(value).__name__}")
    return value


def _pairs(config: Mapping[str, Any], key: str) -> Iterator[tuple[str, Any]]:
    """A mapping that travels as two lists, ``KEY-names`` and ``KEY-values``."""
    names, values = config[f"{key}-names"], config[f"{key}-values"]
    if not isinstance(names, list) or not isinstance(values, list) or len(names) != len(values):
        raise ValueError(f"`{key}-names` and `{key}-values` do not pair")
    if len(names) > MOST_NUMBERS:
        raise ValueError(f"`{key}-names` holds {len(names)}, at most {MOST_NUMBERS} are taken")
    if len(set(names)) < len(names):
        raise ValueError(f"`{key}-names` holds a name twice")
    return zip(map(str, names), values, strict=True)


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Single numbers only, under plain names: a list could be one number a patient."""
    if len(values) > MOST_NUMBERS:
        raise ValueError(f"it holds {len(values)} numbers, at most {MOST_NUMBERS} are taken")
    for name, value in values.items():
        if not NUMBER_NAME.fullmatch(name):
            raise ValueError(f"{name[:80]!r} is no name of a metric")
        if not isinstance(value, int | float):
            raise ValueError(f"{name} is a {type(value).__name__}, expected one number")
    return {name: float(value) for name, value in values.items()}


def _scores(numbers: Mapping[str, float]) -> dict[str, Score]:
    """Four numbers a score: ``NAME``, ``NAME/low``, ``NAME/high`` and ``NAME/p``."""
    names = [name for name in numbers if not name.endswith(SCORE_ENDS[1:])]
    if len(numbers) != len(SCORE_ENDS) * len(names):
        raise ValueError("its scores do not come as value, low, high and p")
    return {name: Score(*(numbers[f"{name}{end}"] for end in SCORE_ENDS)) for name in names}
