"""Several runs beside each other: their own models, on the same patients where they share them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from echofm_core.evaluation.comparisons import Comparison, comparisons
from echofm_core.evaluation.levels import level
from echofm_core.evaluation.model_names import FEDERATED, model_order
from echofm_core.evaluation.paired import paired_table
from echofm_core.evaluation.reported import ReportedMetric
from echofm_core.evaluation.score_table import ScoreTable, at
from echofm_core.pages.grid import Grid
from echofm_core.pages.template import write_page
from echofm_core.report.run_files import RunFiles
from echofm_core.runtime.errors import PlanError


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SideBySide:
    """Runs to compare, by their names.

    Attributes:
        runs: Name -> files; names are folders', with more of the path where two are alike.
    """

    runs: Mapping[str, RunFiles]

    def grids(self) -> dict[str, Grid]:
        """Metric -> a row a run: worst site, gap and mean over sites, and what trained it."""
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
        """The first run's model minus each other's, on the patients that both tested.

        A run whose truths are others, or that tested nobody of the first's, is not compared.
        """
        (first, ours), *others = self.runs.items()
        found = []
        plan = ours.plan
        for name, run in others:
            pair = {FEDERATED: _own_rows(ours), name: _own_rows(run)}
            if not all(len(rows) for rows in pair.values()):
                continue
            try:
                table = paired_table(
                    pair,
                    plan.evaluation,
                    plan.seed,
                    plan.finetune.reduced_ef_threshold,
                    ours.unseen,
                )
            except ValueError:  # they disagree about the truth of a case
                continue
            found += [(f"{first} against {name}", item) for item in comparisons(table)]
        return found

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

    def _grid(self, metric: ReportedMetric, tables: Mapping[str, ScoreTable]) -> Grid:
        rows = []
        for name, table in tables.items():
            here = level(table, _own_model(table.models), metric) if table.models else None
            if here is None or not here.sites:
                rows.append((name, "n/a", "", "n/a", "0"))
                continue
            worst, digits = here.sites[here.worst], metric.digits
            rows.append(
                (
                    name,
                    f"{worst} ({here.worst})",
                    f"{here.gap:z.{digits}f}",
                    f"{here.mean:z.{digits}f}",
                    str(len(here.sites)),
                )
            )
        columns = ("run", "worst site", "gap between sites", "mean over sites", "sites")
        return Grid(columns=columns, rows=tuple(rows), numbers=frozenset(range(1, 5)))

    def _table(self, run: RunFiles) -> ScoreTable:
        return ScoreTable(run.scores, run.plan.evaluation.min_patients, run.unseen)


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
        "grids": found.grids(),
        "differences": found.difference_grid(),
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
