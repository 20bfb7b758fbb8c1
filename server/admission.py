"""Which updates may touch the global model: checks before anything is added.

Symptom: one site's NaN, or its wrong shape, ruins the model of all. Reason: an update is added to a
sum, and nothing takes it out again. Protocol: who answers, counts, names, shapes, types, checksum,
finiteness and norm, cheap checks first; each is a pure function that raises
:class:`RefusedUpdateError` with one sentence, and the round goes on without that site. Whether a
norm is unlike those of the other sites is judged in ``norm_bound.py``. What can still go wrong: an
update of the right form that was trained on wrong labels, or made up, within the bounds.
"""

import math
import re
from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from echofm_core.contract import (
    LORA_A,
    LORA_B,
    LOSS,
    UPDATE_METRICS,
    VALIDATION,
    Attested,
    Phase,
    Update,
    Weights,
    group_of,
)
from echofm_core.data.formats.bfloat16 import as_float32, type_name
from echofm_core.runtime.checksum import checksum
from echofm_core.runtime.errors import DivergedError, RefusedUpdateError
from echofm_core.tasks import TASKS
from server.aggregation._api import CHUNK, changes, chunks, sum_of_squares

#: What an update shows that is not finite, or far too large.
DIVERGED = DivergedError.exit_code


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """What an update must be to count.

    Attributes:
        site, phase, round, plan_hash: Who was asked for what.
        sent: What the site started from, in wire precision.
        most: Parameter group -> most clips that the site can have behind it; empty: not checked.
        max_norm: Largest L2 norm of the whole change; 0: no bound.
        max_clips: Most clips behind any group, whatever the site described.
        extra: Arrays of the shapes and types that the algorithm's own must have, by name.
        numbers: The algorithm's own numbers, by name, and the ends of their legal values.
        local: Groups of which arrays stay at the site: their clips count all the same.
    """

    site: str
    phase: Phase
    round: int
    plan_hash: str
    sent: Weights
    most: Mapping[str, int] = field(default_factory=dict)
    max_norm: float = 0.0
    max_clips: int = 10_000_000
    extra: Weights = field(default_factory=dict)
    numbers: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    local: Collection[str] = ()


def admit(update: Update, expected: Expected) -> tuple[float, float]:
    """Check an update; cheap checks first, then two passes over its arrays.

    Returns:
        L2 norms of its change, and of the algorithm's own arrays (0 without any).

    Raises:
        RefusedUpdateError: What is wrong, what was expected and what was found.
    """
    check_identity(update, expected)
    check_heads(update)
    check_counts(update.counts, expected)
    check_numbers(update.numbers, expected.numbers)
    check_metrics(update.metrics)
    known = {group_of(name) for name in expected.sent} | set(expected.local)
    adapters = {update.counts.get(group, 0) for group in known & {LORA_A, LORA_B}}
    if len(adapters) > 1:
        raise RefusedUpdateError(
            f"counts of {LORA_A} and {LORA_B} are {' and '.join(map(str, sorted(adapters)))}, "
            "expected the same: adapters train as a whole."
        )
    if strangers := sorted(set(update.counts) - known):
        raise RefusedUpdateError(f"group {strangers[0]} was not part of what was sent.")
    match_arrays(update.weights, _of_groups(expected.sent, update.counts))
    match_arrays(update.extra, _of_groups(expected.extra, update.counts))
    # What was sent is finite: where the norm of the change is, so are the weights.
    check_values({**update.weights, **update.extra}, update.checksum, measured=update.weights)
    norm = distance(update.weights, expected.sent)
    if not math.isfinite(norm):
        check_values(update.weights, checksum(update.weights))
        why = "the update is too far from the global model for a float32."
        raise RefusedUpdateError(why, DIVERGED)
    if (bound := expected.max_norm) and norm > bound:
        raise RefusedUpdateError(
            f"the update is {norm:.4g} away from the global model, the bound is {bound:.4g}.",
            DIVERGED,
        )
    own = norm_of(update.extra)
    if not math.isfinite(own):
        raise RefusedUpdateError("its control variate is too large for a float32.", DIVERGED)
    return norm, own


def check_identity(update: Update, expected: Expected) -> None:
    """The update answers this question, and comes from whom it was asked.

    Raises:
        RefusedUpdateError: Site, phase, round or plan differ.
    """
    check_same("site", update.site, expected.site)
    check_same("phase", update.phase.value, expected.phase.value)
    check_same("round", update.round, expected.round)
    check_same("plan hash", update.plan_hash[:12], expected.plan_hash[:12])
    if update.plan_hash != expected.plan_hash:
        raise RefusedUpdateError("plan hash differs from the one that was sent.")


def check_heads(answer: Attested) -> None:
    """What an answer says of the rules that it left by are hashes: they are kept as they are.

    Raises:
        RefusedUpdateError: One is neither 64 hexadecimal digits nor empty.
    """
    for what, found in (
        ("head of its audit", answer.audit_head),
        ("head of its ledger", answer.ledger_head),
        ("hash of its policy", answer.policy_hash),
        ("hash of its approval", answer.approval_hash),
    ):
        if not re.fullmatch(r"([0-9a-f]{64})?", found):
            raise RefusedUpdateError(f"{what} is {found[:80]!r}, expected a SHA-256.")


def check_same(what: str, found: str | int, wanted: str | int) -> None:
    """What came back is what was asked for.

    Raises:
        RefusedUpdateError: It differs.
    """
    if found != wanted:
        short = found[:64] if isinstance(found, str) else found
        raise RefusedUpdateError(f"{what} is {short!r}, expected {wanted!r}.")


def check_names(what: str, found: Collection[str], wanted: Collection[str]) -> None:
    """Exactly the wanted names are there.

    Raises:
        RefusedUpdateError: One is missing, or was not asked for.
    """
    if unexpected := sorted(set(found) - set(wanted)):
        raise RefusedUpdateError(f"{what} {unexpected[0]} was not asked for.")
    if missing := sorted(set(wanted) - set(found)):
        raise RefusedUpdateError(f"{what} {missing[0]} is missing.")


def check_counts(counts: Mapping[str, int], expected: Expected) -> None:
    """Every weight is positive, and no site claims more clips than it described, or may have.

    Raises:
        RefusedUpdateError: There is none, or one is out of its range.
    """
    if not counts:
        raise RefusedUpdateError("no parameter group has training clips behind it.")
    for group, count in counts.items():
        if count <= 0:
            raise RefusedUpdateError(f"count of {group} is {count}, expected a positive number.")
        if group in expected.most and count > expected.most[group]:
            raise RefusedUpdateError(
                f"count of {group} is {count}, but the site described {expected.most[group]}."
            )
        if count > expected.max_clips:
            raise RefusedUpdateError(
                f"count of {group} is {count}, federation.max_clips is {expected.max_clips}."
            )


def check_metrics(metrics: Mapping[str, float]) -> None:
    """Numbers that a site's own code makes, within their ends; a validation loss may be undefined.

    Raises:
        RefusedUpdateError: One has another name, or a value that it cannot have.
    """
    for name, value in metrics.items():
        family, _, task = name.partition("/")
        known = family in UPDATE_METRICS and (not task or (family == LOSS and task in TASKS))
        if not known or name.endswith("/"):
            raise RefusedUpdateError(f"metric {name[:80]!r} is none that a site reports.")
        if name == VALIDATION and not math.isfinite(value):
            continue
        low, high = UPDATE_METRICS[family]
        if not low <= value <= high:  # NaN is not
            words = f"metric {name} is {value:g}, legal is {low:g} to {high:g}."
            raise RefusedUpdateError(words, DIVERGED if family == LOSS else None)


def match_arrays(found: Weights, wanted: Weights) -> None:
    """Names, shapes and types are those of ``wanted``.

    Raises:
        RefusedUpdateError: An array is missing, was not asked for, or has another shape or type.
    """
    check_names("array", found, wanted)
    for name, array in found.items():
        base = wanted[name]
        if array.shape != base.shape:
            raise RefusedUpdateError(
                f"array {name} has shape {array.shape}, expected {base.shape}."
            )
        if array.dtype != base.dtype:
            found_type, wanted_type = type_name(array), type_name(base)
            raise RefusedUpdateError(f"array {name} is {found_type}, expected {wanted_type}.")


def _of_groups(weights: Weights, groups: Collection[str]) -> Weights:
    return {name: array for name, array in weights.items() if group_of(name) in groups}


def check_numbers(numbers: Mapping[str, float], wanted: Mapping[str, tuple[float, float]]) -> None:
    """The algorithm's own numbers are those that it asked for, within their ends.

    Raises:
        RefusedUpdateError: One is missing, was not asked for, or has a value that it cannot have.
    """
    check_names("number", numbers, wanted)
    for name, number in numbers.items():
        low, high = wanted[name]
        if not low <= number <= high:  # NaN is not
            raise RefusedUpdateError(f"number {name} is {number:g}, legal is {low:g} to {high:g}.")


def check_values(weights: Weights, written: int, measured: Container[str] = ()) -> None:
    """The numbers are those that the site wrote, and finite; both in one pass over memory.

    Args:
        weights: By name.
        written: Their checksum, as the site took it.
        measured: Names of those whose norm will tell whether they are finite.

    Raises:
        RefusedUpdateError: They are damaged, or not finite.
    """
    total, finite = 0, True
    for position, name in enumerate(sorted(weights), start=1):
        part, part_finite = _scan(weights[name], finite=name not in measured)
        total += position * part
        finite = finite and part_finite
    if (found := total % 2**63) != written:
        raise RefusedUpdateError(
            f"checksum is {found}, the site wrote {written}: the update was damaged."
        )
    if not finite:
        raise RefusedUpdateError("the update holds values that are not finite.", DIVERGED)


def distance(weights: Weights, sent: Weights) -> float:
    """L2 norm of the change over all arrays."""
    squares = 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for name, array in weights.items():
            squares += sum(sum_of_squares(change) for _, change in changes(array, sent[name]))
    return math.sqrt(squares)


def norm_of(arrays: Weights) -> float:
    """L2 norm over all arrays, float32."""
    flat = (np.ascontiguousarray(array, np.float32).reshape(-1) for array in arrays.values())
    with np.errstate(over="ignore"):
        return math.sqrt(sum(map(sum_of_squares, flat)))


def _scan(array: NDArray[np.floating], *, finite: bool) -> tuple[int, bool]:
    """Word sum of one array (see ``checksum``), and whether its values have a finite sum.

    Without ``finite`` they are not added up, and taken to have one.
    """
    flat = np.ascontiguousarray(array).reshape(-1)
    words, tail, adds = 0, 0, finite
    with np.errstate(over="ignore", invalid="ignore"):
        for piece in chunks(flat.size, CHUNK):
            part = flat[piece]
            if adds:
                adds = bool(np.isfinite(np.add.reduce(as_float32(part), dtype=np.float32)))
            raw = part.view(np.uint8)
            whole = raw[: raw.size // 8 * 8].view(np.uint64)
            words += int(np.add.reduce(whole, dtype=np.uint64))
            tail += int.from_bytes(raw[whole.size * 8 :].tobytes(), "little")
    return words % 2**64 + tail + flat.nbytes, adds or not finite
