"""A run as both screens show it: one sentence, facts, tables and curves, all of them text."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from echofm_core.evaluation.model_names import model_title
from echofm_core.evaluation.reported import reported_metric
from echofm_core.live.clock import Clock, clock
from echofm_core.live.record import LiveRecord, SiteRecord
from echofm_core.live.run_data import Round, RunData, headline_scores
from echofm_core.live.states import Doing, RunState, SiteState
from echofm_core.pages.grid import Grid, printable
from echofm_core.runtime.text import many, span

#: Rows of a table that are shown; the run folder has all.
MOST = 200
#: Newest rounds and refusals that are shown.
NEWEST = 30
#: What a model is at, as a sentence begins.
TITLES = {
    Doing.GATHER: "asking who is there",
    Doing.PRETRAIN: "pre-training",
    Doing.FINETUNE: "fine-tuning",
    Doing.VALIDATE: "validating the last weights",
    Doing.TEST: "testing the final model",
    Doing.DONE: "trained and tested",
}
WORKING = (SiteState.TRAINING, SiteState.VALIDATING, SiteState.TESTING)
NONE = "–"


@dataclass(frozen=True, kw_only=True, slots=True)
class Presence:
    """What the network knows of a site: is its node there, and when was it seen last (epoch)."""

    online: bool
    seen: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table with its caption.

    Attributes:
        past: It tells of what is over, not of now.
        states: Column that holds a site's state, if any.
    """

    caption: str
    grid: Grid
    past: bool = False
    states: int | None = None


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
        _site_table(data, sites),
        _model_table(data.record),
        _round_table(data.rounds),
        _test_table(data),
        _refusal_table(data.rounds),
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


def _site_table(data: RunData, sites: Mapping[str, SiteRecord]) -> Table | None:
    over = data.state is not RunState.RUNNING
    rows = []
    for name, site in list(sites.items())[:MOST]:
        parts = [entry.sites[name] for entry in data.rounds if name in entry.sites]
        metrics = parts[-1].metrics if parts else {}
        losses = [entry.validation[name] for entry in data.rounds if name in entry.validation]
        epsilons = [part.metrics["epsilon"] for part in parts if "epsilon" in part.metrics]
        state = "unanswered" if over and site.state in WORKING else site.state.value
        rows.append(
            (
                name,
                state,
                _time(site.seen),
                str(parts[-1].clips) if parts else NONE,
                _number(metrics.get("loss")),
                _number(losses[-1] if losses else None),
                _number(max(epsilons, default=None), ".2f"),
                NONE if site.quarantined is None else str(site.quarantined),
                site.why,
            )
        )
    columns = (
        *("site", "state", "last seen", "clips", "loss", "validation", "epsilon spent"),
        *("unusable files", "reason"),
    )
    caption = "Sites" if len(sites) <= MOST else f"Sites, the first {MOST} of {len(sites)}"
    return Table(caption=caption, grid=_without_empty(columns, rows, {3, 4, 5, 6, 7}), states=1)


def _model_table(record: LiveRecord | None) -> Table | None:
    """Reference models beside the run's own, where there are any."""
    if record is None or len(record.models) < 2:
        return None
    total, rows = sum(record.phases.values()), []
    for name, model in list(record.models.items())[:MOST]:
        at = TITLES[model.doing] if model.since else "not begun"
        at += f", round {model.round} of {model.rounds}" if model.rounds else ""
        rows.append((model_title(name), at, f"{total - sum(model.left.values())} of {total}"))
    grid = _grid(("model", "at", "rounds done"), rows, {2})
    return Table(caption="Models that are trained", grid=grid)


def _round_table(rounds: Sequence[Round]) -> Table:
    rows = [
        (
            entry.phase.value,
            str(entry.round),
            _number(entry.loss),
            _number(entry.validation_loss),
            str(len(entry.sites)),
            str(len(entry.refused)),
            span(entry.seconds),
        )
        for entry in reversed(rounds[-NEWEST:])
    ]
    columns = ("phase", "round", "loss", "validation", "sites", "did not count", "took")
    caption = "Rounds, newest first"
    if len(rounds) > NEWEST:
        caption += f"; {len(rounds) - NEWEST} older ones are in the journal"
    return Table(caption=caption, grid=_grid(columns, rows, {1, 2, 3, 4, 5, 6}), past=True)


def _test_table(data: RunData) -> Table:
    rows = []
    for tested, task, metric, (value, low, high, *_) in headline_scores(data.tests):
        if shown := reported_metric(task, metric):
            form = f".{shown.digits}f"
            known = low is not None and high is not None
            ends = f"{low:{form}} to {high:{form}}" if known else NONE
            patients = str(tested.patients.get(task, ""))
            rows.append((tested.site, shown.title, _number(value, form), ends, patients))
    rows += [(site, "not tested: " + why, "", "", "") for site, why in data.tests.failed.items()]
    columns = ("site", "metric", "value", "interval", "patients")
    grid = _grid(columns, rows[:MOST], {2, 3, 4})
    return Table(caption="Test at the sites", grid=grid, past=True)


def _refusal_table(rounds: Sequence[Round]) -> Table:
    """The same site for the same reason is one row, with its newest round."""
    found: dict[tuple[str, str, str], list[int]] = {}
    for entry in reversed(rounds):
        for site, why in entry.refused.items():
            found.setdefault((entry.phase.value, site, why), []).append(entry.round)
    rows = [
        (phase, str(numbers[0]), site, str(len(numbers)), why)
        for (phase, site, why), numbers in found.items()
    ]
    grid = _grid(("phase", "last round", "site", "rounds", "reason"), rows[:NEWEST], {1, 3})
    more = f"; {len(rows) - NEWEST} older ones are in the journal" if len(rows) > NEWEST else ""
    caption = f"Updates that did not count{more}"
    return Table(caption=caption, grid=grid, past=True)


def _curves(rounds: Sequence[Round]) -> tuple[Curve, ...]:
    phases = dict.fromkeys(entry.phase.value for entry in rounds)
    curves = []
    for phase in phases:
        found = [entry for entry in rounds if entry.phase.value == phase]
        points = tuple((e.round, _finite(e.loss), _finite(e.validation_loss)) for e in found)
        if len(points) > 1 and any(a is not None or b is not None for _, a, b in points):
            curves.append(Curve(phase=phase, points=points))
    return tuple(curves)


def _without_empty(
    columns: tuple[str, ...], rows: Sequence[tuple[str, ...]], numbers: set[int]
) -> Grid:
    """A grid of the columns that say something; the first three always do."""
    kept = [
        n for n in range(len(columns)) if n < 3 or any(row[n] not in ("", NONE) for row in rows)
    ]
    places = {place for place, n in enumerate(kept) if n in numbers}
    picked = [tuple(row[n] for n in kept) for row in rows]
    return _grid(tuple(columns[n] for n in kept), picked, places)


def _grid(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]], numbers: set[int]) -> Grid:
    """A grid of these rows without control characters, whatever sites have sent."""
    clean = tuple(tuple(map(printable, row)) for row in rows)
    return Grid(columns=columns, rows=clean, numbers=frozenset(numbers))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(value: float | None, form: str = ".4f") -> str:
    return NONE if value is None or not math.isfinite(value) else format(value, form)


def _time(seen: float | None) -> str:
    """Clock time of this machine; with the date, where it is another day's."""
    if seen is None:
        return NONE
    moment, today = time.localtime(seen), time.localtime()
    same = moment[:3] == today[:3]
    return time.strftime("%H:%M:%S" if same else "%Y-%m-%d %H:%M:%S", moment)


def _left(times: Clock) -> str:
    if times.left is None:
        return "not known before a round is over"
    about = f"about {span(times.left)}" if times.left >= 1 else "a moment"
    return about + "".join(f", then {TITLES[Doing(phase)]}" for phase in times.unknown)
