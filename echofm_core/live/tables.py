"""The tables of a run, as both screens show them: text alone, whatever sites have sent."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from echofm_core.evaluation.model_names import model_title
from echofm_core.evaluation.reported import reported_metric
from echofm_core.live.record import LiveRecord, SiteRecord
from echofm_core.live.run_data import Round, RunData, headline_scores
from echofm_core.live.states import Doing, RunState, SiteState
from echofm_core.pages.grid import Grid, printable
from echofm_core.runtime.text import span

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


def site_table(data: RunData, sites: Mapping[str, SiteRecord]) -> Table:
    """Each site's state, with the newest numbers that the journal has of it."""
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


def model_table(record: LiveRecord | None) -> Table | None:
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


def round_table(rounds: Sequence[Round]) -> Table:
    """The newest rounds, over all sites."""
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


def score_table(data: RunData) -> Table:
    """Headline scores of the final model at each site, and why a site has none."""
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


def refusal_table(rounds: Sequence[Round]) -> Table:
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


def _number(value: float | None, form: str = ".4f") -> str:
    return NONE if value is None or not math.isfinite(value) else format(value, form)


def _time(seen: float | None) -> str:
    """Clock time of this machine; with the date, where it is another day's."""
    if seen is None:
        return NONE
    moment, today = time.localtime(seen), time.localtime()
    same = moment[:3] == today[:3]
    return time.strftime("%H:%M:%S" if same else "%Y-%m-%d %H:%M:%S", moment)
