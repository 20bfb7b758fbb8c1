"""How long a run has taken, how far it is, and how long it may still take."""

from dataclasses import dataclass

from echofm_core.contract import Phase
from echofm_core.live.record import LiveRecord
from echofm_core.live.run_data import RunData
from echofm_core.live.states import RunState


@dataclass(frozen=True, kw_only=True, slots=True)
class Clock:
    """Times of a run in seconds, and its rounds over all models.

    Attributes:
        left: Estimated; None before a round is over, and of a run that does not run.
        unknown: Phases that will come, and of which no round was measured: not part of ``left``.
    """

    elapsed: float
    left: float | None
    unknown: tuple[str, ...] = ()
    done: int
    total: int


def clock(data: RunData) -> Clock:
    """Of a run as it is now."""
    record = data.record
    if record is None:
        tables = {phase: data.plan.get(phase.value, {}) for phase in Phase}
        total = sum(int(table.get("rounds", 0)) for table in tables.values())
        return Clock(elapsed=data.seconds, left=None, done=len(data.rounds), total=total)
    running = data.state is RunState.RUNNING
    until = data.now if running else record.ended or record.last
    total = sum(record.phases.values()) * max(1, len(record.models))
    return Clock(
        elapsed=max(data.seconds, record.earlier + until - record.begun),
        left=_left(record, data.now) if running else None,
        unknown=tuple(
            phase
            for phase in record.phases
            if phase not in record.spent
            and any(model.left.get(phase) for model in record.models.values())
        ),
        done=total - sum(sum(model.left.values()) for model in record.models.values()),
        total=total,
    )


def _left(record: LiveRecord, now: float) -> float | None:
    """By what this session's rounds took, of the phases that it has measured.

    Models that are trained side by side are in it: what counts is how much was done in how long.
    """
    if not record.spent:
        return None
    costs = {phase: seconds / count for phase, (count, seconds) in record.spent.items()}
    models = record.models.values()
    rest = sum(cost * model.left.get(phase, 0) for model in models for phase, cost in costs.items())
    spent = sum(seconds for _, seconds in record.spent.values())
    if not spent:
        return None
    return max(0.0, (record.last - record.first) * rest / spent - (now - record.last))
