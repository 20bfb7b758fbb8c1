"""Several runs beside each other: their own models, on the same patients where they share them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from echofm_core.evaluation.comparisons import Comparison, comparisons
from echofm_core.evaluation.levels import level
from echofm_core.evaluation.model_names import FEDERATED, model_order
from echofm_core.evaluation.paired import paired_table
from echofm_core.evaluation.reported import ReportedMetric
from echofm_core.evaluation.score import JOINT
from echofm_core.evaluation.score_table import TOO_FEW, ScoreTable, at
from echofm_core.pages.grid import Grid
from echofm_core.pages.template import write_page
from echofm_core.report.run_files import RunFiles
from echofm_core.runtime.errors import PlanError

#: Why a run has no value over sites in a metric.
TOO_FEW_PATIENTS = "no site has enough test patients to judge by"
NO_SITE = "no such site has labels to test on"


@dataclass(frozen=True, kw_only=True, eq=False)
class SideBySide:
    """Runs to compare, by their names.

    Attributes:
        runs: Name -> files; names are folders', with more of the path where two are alike.
    """

    runs: Mapping[str, RunFiles]

    def grids(self) -> dict[str, Grid]:
        """Metric -> a row a run: worst site, gap and mean over sites, or why there are none."""
        tables = {name: self._table(run) for name, run in self.runs.items()}
        metrics = dict.fromkeys(m for table in tables.values() for m in table.metrics)
        return {metric.heading: self._grid(metric, tables) for metric in metrics}

    def plans(self) -> Grid:
        """What differs between the plans: a row a key, a column a run."""
        values = {name: dict(_flat(run.plan.decisive())) for name, run in self.runs.items()}
        keys = dict.fromkeys(key for each in values.values() for key in each)
        rows = []
        for key in keys:
            cells = [str(each.get(key, "")) for each in values.values()]
            if len(set(cells)) > 1:
                rows.append((key, *cells))
        return Grid(columns=("key", *self.runs), rows=tuple(rows))

    def differences(self) -> list[tuple[str, Comparison]]:
        """The first run's model minus each other's, on the patients that both tested."""
        return [(title, item) for title, found in self._pairs.items() for item in found.rows]

    def not_compared(self) -> dict[str, str]:
        """``FIRST against OTHER`` -> why nothing is compared there."""
        return {title: found.why for title, found in self._pairs.items() if found.why}

    def difference_grid(self) -> Grid | None:
        """:meth:`differences`, a row each; None where there are none."""
        rows = [
            (
                name,
                item.metric.title,
                at(item.site),
                item.difference,
                str(item.patients),
                str(item.finding),
            )
            for name, item in self.differences()
        ]
        columns = ("runs", "metric", "where", "difference", "patients", "finding")
        return Grid(columns=columns, rows=tuple(rows), numbers=frozenset({3, 4})) if rows else None

    @cached_property
    def _pairs(self) -> dict[str, _Compared]:
        (first, ours), *others = self.runs.items()
        return {f"{first} against {name}": _compared(ours, run) for name, run in others}

    def _grid(self, metric: ReportedMetric, tables: Mapping[str, ScoreTable]) -> Grid:
        """Of the sites that train; of those that no model trained on too, where a run has some."""
        kinds = [False] + [True] * any(
            table.never_seen(site)
            for table in tables.values()
            for site in table.sites_with_labels(metric)
        )
        rows = [
            (name, *(cell for never in kinds for cell in _cells(table, metric, never_seen=never)))
            for name, table in tables.items()
        ]
        heads = ("worst site", "gap between sites", "mean over sites", "sites")
        columns = ("run", *(f"{head}{', never seen' * never}" for never in kinds for head in heads))
        kept = [n for n in range(len(columns)) if any(row[n] for row in rows)]
        return Grid(
            columns=tuple(columns[n] for n in kept),
            rows=tuple(tuple(row[n] for n in kept) for row in rows),
            numbers=frozenset(place for place, n in enumerate(kept) if n % len(heads)),
        )

    def _table(self, run: RunFiles) -> ScoreTable:
        return ScoreTable(run.scores, run.plan.evaluation.min_patients, run.unseen)


@dataclass(frozen=True, slots=True)
class _Compared:
    """Comparisons of two runs, or why there are none."""

    rows: Sequence[Comparison] = ()
    why: str = ""


def _compared(ours: RunFiles, theirs: RunFiles) -> _Compared:
    for run in (ours, theirs):
        if _own_rows(run).empty:
            why = run.missing.get("predictions", "its files hold no prediction")
            return _Compared(why=f"{run.folder.resolve().name} has no predictions: {why}")
    plan = ours.plan
    try:
        table = paired_table(
            {FEDERATED: _own_rows(ours), "other": _own_rows(theirs)},
            plan.evaluation,
            plan.seed,
            plan.finetune.reduced_ef_threshold,
            # No model of either: where the other one trained, it is a site like any.
            set(ours.unseen) & set(theirs.unseen),
        )
    except ValueError:
        return _Compared(why="they disagree about the true value of a test case")
    few = plan.evaluation.min_patients
    why = f"no site has {few} test patients or more that both tested"
    return _Compared(rows=comparisons(table), why="" if len(table) else why)


def _cells(table: ScoreTable, metric: ReportedMetric, *, never_seen: bool) -> tuple[str, ...]:
    """Worst site, gap, mean and number of sites, with those of too few patients; or why none."""
    model = _own_model(table.models)
    here = level(table, model, metric, never_seen=never_seen)
    few = [f"{site} {one.number} (n {one.patients}, {TOO_FEW})" for site, one in here.few.items()]
    counted = "; ".join([str(len(here.sites)), *few])
    if not here.sites:
        sites = [
            site
            for site in table.sites_with_labels(metric)
            if site not in JOINT and table.never_seen(site) is never_seen
        ]
        reasons = [table.cell(model, site, metric).reason for site in sites]
        reasons = [TOO_FEW_PATIENTS] if few else list(dict.fromkeys(filter(None, reasons)))
        return (f"n/a: {'; '.join(reasons) or NO_SITE}", "", "", counted)
    worst, digits = here.sites[here.worst], metric.digits
    gap = f"{here.gap:z.{digits}f}" if len(here.sites) > 1 else ""
    return (f"{worst} ({here.worst})", gap, f"{here.mean:z.{digits}f}", counted)


def side_by_side(runs: Sequence[RunFiles]) -> SideBySide:
    """Runs by the names of their folders, with those of their parents where two are alike.

    Raises:
        PlanError: A run has no scores to compare.
    """
    names = [run.folder.resolve().name for run in runs]
    if len(set(names)) < len(names):
        names = ["/".join(run.folder.resolve().parts[-2:]) for run in runs]
    if len(set(names)) < len(names):
        names = [str(run.folder.resolve()) for run in runs]
    for run in runs:
        if run.scores.empty:
            raise PlanError(
                f"{run.folder} has no scores to compare ({run.missing.get('scores', 'empty')})."
            )
    return SideBySide(runs=dict(zip(names, runs, strict=True)))


def write_side_by_side(found: SideBySide, path: Path) -> Path:
    """Write the page."""
    context = {
        "title": " and ".join(found.runs),
        "synthetic": [name for name, run in found.runs.items() if run.summary.get("synthetic")],
        "grids": found.grids(),
        "differences": found.difference_grid(),
        "not_compared": found.not_compared(),
        "plans": found.plans(),
    }
    return write_page(path, "echofm_core.report", "side_by_side.html.j2", context)


def _own_model(models: Sequence[str]) -> str:
    """The model that a run is about: the federated one, or the only one."""
    return FEDERATED if FEDERATED in models else models[0]


def _own_rows(run: RunFiles) -> pd.DataFrame:
    if not run.predictions:
        return pd.DataFrame()
    return run.predictions[_own_model(model_order(run.predictions))]


def _flat(values: Mapping[str, object], prefix: str = "") -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        found += _flat(value, f"{name}.") if isinstance(value, dict) else [(name, value)]
    return found
