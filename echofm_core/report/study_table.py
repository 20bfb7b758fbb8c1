"""The table of a study: a row a method, with the worst site first, and what it cost in bytes.

What is written and read here are the files of a study's folder: ``scores.parquet`` (means over
seeds), ``seeds.parquet`` (each seed's scores) and ``methods.parquet``.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.evaluation.levels import level
from echofm_core.evaluation.model_names import FLOOR, LOCAL, model_title
from echofm_core.evaluation.reported import ReportedMetric
from echofm_core.evaluation.score_table import TOO_FEW, ScoreTable
from echofm_core.pages.grid import Grid
from echofm_core.runtime.text import many

#: Columns of ``methods.parquet``; ``megabytes`` of weights between sites, NaN where data move.
METHOD_COLUMNS = ("method", "model", "words", "source", "megabytes", "rounds", "trainings")
#: Columns of the table of a study.
TABLE_COLUMNS = (
    "task", "metric", "method", "worst_site", "worst", "gap", "mean", "spread", "never_seen",
    "never_seen_low", "never_seen_high", "never_seen_patients", "never_seen_judged", "sites",
    "seeds", "megabytes",
)  # fmt: skip
DATA_MOVE = "the data"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StudyScores:
    """What the methods of a study came to under one protocol.

    Attributes:
        scores: Means over seeds, columns of :data:`echofm_core.evaluation.over_seeds.OVER_SEEDS`
            and ``model``.
        seeds: Scores of each seed, with ``seed``.
        methods: Columns of :data:`METHOD_COLUMNS`, in the order of the study.
        config: Fewest test patients of a site that is judged.
        unseen: Sites that no model trained on.
    """

    scores: pd.DataFrame
    seeds: pd.DataFrame
    methods: pd.DataFrame
    config: EvaluationConfig
    unseen: tuple[str, ...] = ()

    def table(self) -> pd.DataFrame:
        """A row a metric and method, columns of :data:`TABLE_COLUMNS`; the floor is last.

        ``worst``, ``gap`` and ``mean`` are over sites that train and have enough test patients, of
        means over seeds. ``spread`` is the standard deviation between seeds of that mean.
        ``never_seen`` is the score over all sites that no model trained on; it is judged where
        enough patients are behind it.
        """
        found = ScoreTable(self.scores, self.config.min_patients, self.unseen)
        each = [
            ScoreTable(rows, self.config.min_patients, self.unseen)
            for _, rows in self.seeds.groupby("seed")
        ]
        rows = [
            self._row(metric, name, model, cost, found, each)
            for metric in found.metrics
            for name, model, cost in self._models(found.models)
        ]
        return pd.DataFrame(rows, columns=list(TABLE_COLUMNS))

    def _models(self, there: Collection[str]) -> list[tuple[str, str, float]]:
        """Method, model and megabytes of each row."""
        keys = ["method", "model", "megabytes"]
        rows = [tuple(row) for row in self.methods[keys].itertuples(index=False, name=None)]
        floor = [(FLOOR, FLOOR, 0.0)] if FLOOR in there else []
        return [row for row in rows if row[1] in there] + floor

    def _row(
        self,
        metric: ReportedMetric,
        name: str,
        model: str,
        cost: float,
        table: ScoreTable,
        each: list[ScoreTable],
    ) -> list[object]:
        here = level(table, model, metric)
        means = [one.mean for seed in each if (one := level(seed, model, metric)).sites]
        unseen = [site for site in table.sites_with_labels(metric) if table.never_seen(site)]
        # All together come last; or it is the one site.
        never = table.cell(model, unseen[-1], metric) if unseen else None
        bounds = [never.value, never.low, never.high] if never else [math.nan] * 3
        behind = [never.patients, never.judged] if never else [0, False]
        sites = (
            [here.worst, here.sites[here.worst].value, here.gap, here.mean] if here.sites else []
        )
        return [
            metric.task.value,
            metric.metric,
            name,
            *(sites or ["", *[math.nan] * 3]),
            float(np.std(means, ddof=1)) if len(means) > 1 else math.nan,
            *bounds,
            *behind,
            len(here.sites),
            len(means),
            cost,
        ]


def grids(table: pd.DataFrame, metrics: list[ReportedMetric]) -> dict[ReportedMetric, Grid]:
    """The table of a study as printable grids, one a metric that some method has.

    Columns that are none of :data:`TABLE_COLUMNS` say what a row's plan has varied.
    """
    found = {}
    for metric in metrics:
        rows = table[(table["task"] == metric.task.value) & (table["metric"] == metric.metric)]
        if len(rows):
            found[metric] = _grid(rows, metric)
    return found


def _grid(rows: pd.DataFrame, metric: ReportedMetric) -> Grid:
    def number(value: float) -> str:
        return "" if math.isnan(value) else f"{value:z.{metric.digits}f}"

    most = int(rows["sites"].max())

    def over(row: Mapping[Hashable, Any], value: float) -> str:
        """A number over sites, and over how many where another method has more of them."""
        partly = f" (of {many(row['sites'], 'site')})" if row["sites"] < most else ""
        return f"{number(value)}{partly}" if number(value) else ""

    def interval(row: Mapping[Hashable, Any]) -> str:
        if not row["never_seen_judged"] and not math.isnan(row["never_seen"]):
            few = f"n {row['never_seen_patients']}, {TOO_FEW}"
            return f"{number(row['never_seen'])} ({few})"
        low, high = row["never_seen_low"], row["never_seen_high"]
        ends = "" if math.isnan(low) else f" [{number(low)}, {number(high)}]"
        return number(row["never_seen"]) + ends

    varied = [str(name) for name in rows if name not in TABLE_COLUMNS]
    unseen, several = rows["never_seen"].notna().any(), bool((rows["seeds"] > 1).any())
    columns = ["method", *varied, "worst site", "gap between sites", "mean over sites"]
    columns += ["between seeds (SD)"] if several else []
    columns += ["never seen"] if unseen else []
    lines = []
    for row in rows.to_dict("records"):
        worst = f"{number(row['worst'])} ({row['worst_site']})" if row["worst_site"] else "n/a"
        line = [title(row["method"]), *(row[name] for name in varied)]
        gap = over(row, row["gap"]) if row["sites"] > 1 else ""
        line += [worst, gap, over(row, row["mean"]) or "n/a"]
        line += [number(row["spread"])] if several else []
        line += [interval(row) or "n/a"] if unseen else []
        cost = row["megabytes"]
        lines.append((*line, DATA_MOVE if math.isnan(cost) else f"{cost:,.1f}"))
    return Grid(
        columns=(*columns, "MB between sites"),
        rows=tuple(lines),
        numbers=frozenset(range(1 + len(varied), len(columns) + 1)),
    )


def title(method: str) -> str:
    """How a method is written."""
    return model_title(method) if method in (FLOOR,) or method.startswith(LOCAL) else method
