"""A run as both screens show it: one sentence, facts, tables and curves, all of them text."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from echofm_core.live.clock import Clock, clock
from echofm_core.live.record import SiteRecord
from echofm_core.live.run_data import Round, RunData
from echofm_core.live.states import Doing, RunState, SiteState
from echofm_core.live.tables import (
    TITLES,
    WORKING,
    Table,
    model_table,
    refusal_table,
    round_table,
    score_table,
    site_table,
)
from echofm_core.pages.grid import printable
from echofm_core.runtime.text import many, span


@dataclass(frozen=True, kw_only=True, slots=True)
class Presence:
    """What the network knows of a site: is its node there, and when was it seen last (epoch)."""

    online: bool
    seen: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """Mean losses of a phase by round: round, training, validation; None where not reported."""

    phase: str
    points: tuple[tuple[int, float | None, float | None], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """What is shown of a run.

    Attributes:
        state: Of the run, or ``waiting``: none has begun here.
        sentence: What goes on, whom it waits for, or what ended it.
        done, total: Rounds over all models.
        notes: What could not be read.
        over: Nothing will change any more.
    """

    title: str
    state: str
    sentence: str
    facts: tuple[tuple[str, str], ...]
    done: int
    total: int
    tables: tuple[Table, ...]
    curves: tuple[Curve, ...]
    notes: tuple[str, ...]
    over: bool


def view_of(data: RunData, presence: Mapping[str, Presence] | None = None) -> View:
    """Put a run into words.

    Args:
        data: The run folder as it is now.
        presence: Of each admitted site, where a network knows it.
    """
    times, sites = clock(data), _sites(data, presence or {})
    tables = (
        site_table(data, sites),
        model_table(data.record),
        round_table(data.rounds),
        score_table(data),
        refusal_table(data.rounds),
    )
    facts = [("elapsed", span(times.elapsed))] if data.state else []
    if data.state is RunState.RUNNING:
        facts.append(("time left", _left(times)))
    facts += [("run folder", data.folder)]
    facts += [("plan hash", data.rounds[-1].plan_hash[:12])] if data.rounds else []
    if data.record and data.record.quarantined is not None:
        facts += [("unusable files", str(data.record.quarantined))]
    return View(
        title=printable(data.name or data.folder),
        state=data.state.value if data.state else "waiting",
        sentence=printable(_sentence(data, sites)),
        facts=tuple((name, printable(value)) for name, value in facts if value),
        done=times.done,
        total=times.total,
        tables=tuple(table for table in tables if table and table.grid.rows),
        curves=_curves(data.rounds),
        notes=data.skipped,
        over=data.state not in (None, RunState.RUNNING),
    )


def _sites(data: RunData, presence: Mapping[str, Presence]) -> dict[str, SiteRecord]:
    """The sites' states; of a run without a record those of its last round."""
    sites = dict(data.record.sites) if data.record else {}
    if not sites and data.rounds:
        last = data.rounds[-1]
        sites = {name: SiteRecord(state=SiteState.ANSWERED) for name in last.sites}
        refused = {n: SiteRecord(state=SiteState.REFUSED, why=w) for n, w in last.refused.items()}
        sites |= refused
    for name, found in presence.items():
        site = sites.get(name) or SiteRecord(state=SiteState.ABSENT)
        seen = max(filter(None, (site.seen, found.seen)), default=None)
        state = SiteState.READY if found.online and site.state is SiteState.ABSENT else site.state
        if not found.online and site.state in (*WORKING, SiteState.READY):
            state = SiteState.GONE
        sites[name] = site.model_copy(update={"seen": seen, "state": state})
    return dict(sorted(sites.items()))


def _sentence(data: RunData, sites: Mapping[str, SiteRecord]) -> str:
    """What goes on, and whom it waits for."""
    record = data.record
    if data.state is None:
        return "No run has begun here yet; one that still decodes its clips has not."
    if data.state is RunState.COMPLETED:
        return "The run is completed; report.html in its folder has the results."
    if data.state is not RunState.RUNNING:
        return data.why
    model = next(iter(record.models.values()), None) if record else None
    if record is None or record.doing or model is None:
        return (record.doing if record and record.doing else "beginning").capitalize() + "."
    what = TITLES[model.doing]
    if model.rounds:
        what += f", round {model.round} of {model.rounds}"
    absent = [name for name, site in sites.items() if site.state is SiteState.ABSENT]
    asked = [name for name, site in sites.items() if site.state in WORKING]
    what = what[0].upper() + what[1:]
    if model.doing is Doing.GATHER:
        waiting = f", waiting for {_few(absent)}" if absent else ""
        return f"{what}{waiting}."
    if model.doing is Doing.DONE:
        return "The run's own model is trained and tested; those that it is compared with follow."
    answered = sum(site.state is SiteState.ANSWERED for site in sites.values())
    waiting = f", waiting for {_few(asked)}" if asked else ""
    return f"{what}: {many(answered, 'site has', 'sites have')} answered{waiting}."


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more


def _curves(rounds: Sequence[Round]) -> tuple[Curve, ...]:
    phases = dict.fromkeys(entry.phase.value for entry in rounds)
    curves = []
    for phase in phases:
        found = [entry for entry in rounds if entry.phase.value == phase]
        points = tuple((e.round, _finite(e.loss), _finite(e.validation_loss)) for e in found)
        if len(points) > 1 and any(a is not None or b is not None for _, a, b in points):
            curves.append(Curve(phase=phase, points=points))
    return tuple(curves)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _left(times: Clock) -> str:
    if times.left is None:
        return "not known before a round is over"
    about = f"about {span(times.left)}" if times.left >= 1 else "a moment"
    return about + "".join(f", then {TITLES[Doing(phase)]}" for phase in times.unknown)
