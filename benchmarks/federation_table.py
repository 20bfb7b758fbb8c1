"""What the arms of the federation benchmark reached, set beside each other on the same patients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import _kept
from benchmarks._kept import KEPT
from benchmarks._rows import Bar, Row
from benchmarks.federation_arms import SEEDS, all_arms, chosen, recipe, rivals
from benchmarks.federation_work import (
    ELSEWHERE,
    FLOOR,
    finished,
    floor_of,
    predictions_of,
)
from echofm_core.evaluation.bootstrap import Statistic, paired_difference
from echofm_core.evaluation.metrics import task_metrics
from echofm_core.evaluation.ranking import Floats
from echofm_core.evaluation.score import Cases, study_cases
from echofm_core.runtime.randomness import stream
from echofm_core.tasks import Task

NAME = "federation_weights"
TITLE = "Equal steps and weights of the shared trunk, on SYNTHETIC patients"
NOTE = """\
The figures compare arms on SYNTHETIC patients; they say nothing of people.
Three sites have labels: camus (EF; 165 clips to train on), echonet_dynamic (EF and volumes; 305)
and tmed2 (grades of aortic stenosis; 63). An arm is named by rounds x local work. One pass over its
clips is 21, 39 and 8 steps: 16 rounds of it, of 23 steps at each, and 32 of 12, are together about
as many. All federated arms of a seed start from one federated pre-training; tmed2 alone pre-trains
by itself. AS is tested on further patients in tmed2's layout, whom nobody trained on. The floor is
ridge regression on grey statistics, fitted at each site on its own clips. An interval is of the
mean difference over the seeds; patients are drawn, each with the predictions of all seeds. What the
seeds alone would change is seen in their values."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """A figure, and which way is better."""

    title: str
    site: str
    task: Task
    metric: str
    higher_is_better: bool = True


STENOSIS_AUC = Measure(title="AS AUC", site=ELSEWHERE, task=Task.AS_GRADE, metric="macro_auc")
MEASURES = (
    STENOSIS_AUC,
    Measure(title="EF R2, camus", site="camus", task=Task.EF, metric="r2"),
    Measure(title="EF R2, echonet_dynamic", site="echonet_dynamic", task=Task.EF, metric="r2"),
    *(
        Measure(
            title=f"{task.value.upper()} MAE in ml, echonet_dynamic",
            site="echonet_dynamic",
            task=task,
            metric="mae",
            higher_is_better=False,
        )
        for task in (Task.ESV, Task.EDV)
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """What was measured.

    Attributes:
        context: Of what, with what.
        scores: Columns arm, seed, measure, value.
        differences: Chosen arm less another: columns rival, measure, seeds (how many both have),
            value, low, high.
    """

    context: Mapping[str, str]
    scores: pd.DataFrame
    differences: pd.DataFrame


def measured(context: Mapping[str, str], folder: Path) -> Figures:
    """Score the arms that a folder holds; two are compared on the seeds that both have."""
    found = {
        (arm.name, arm.seed): predictions_of(arm, folder)
        for arm in all_arms()
        if finished(arm, folder)
    }
    floor = floor_of(folder)
    found |= {(FLOOR, seed): floor for seed in {seed for _, seed in found}}
    scores = measured_scores(found, MEASURES)
    return Figures(
        context=context,
        scores=pd.DataFrame(scores, columns=["arm", "seed", "measure", "value"]),
        differences=pd.DataFrame(
            [row for measure in MEASURES for row in _differences(measure, found)],
            columns=["rival", "measure", "seeds", "value", "low", "high"],
        ),
    )


def _differences(
    measure: Measure, found: Mapping[tuple[str, int], pd.DataFrame]
) -> Iterator[tuple[str, str, int, float, float, float]]:
    """The chosen arm less each other one that was tested for the measure."""
    ours = {seed: found[name, seed] for name, seed in found if name == chosen(seed).name}
    for rival in dict.fromkeys(name for name, seed in found if name != chosen(seed).name):
        theirs = {
            seed: table
            for (name, seed), table in found.items()
            if name == rival and seed in ours and len(_cases(measure, table).truth)
        }
        if theirs:
            pairs = [(ours[seed], theirs[seed]) for seed in sorted(theirs)]
            ends = difference(measure, *map(list, zip(*pairs, strict=True)))
            yield rival, measure.title, len(pairs), *ends


def measured_scores(
    predictions: Mapping[tuple[str, int], pd.DataFrame], measures: Sequence[Measure]
) -> list[tuple[str, int, str, float]]:
    """Arm, seed, title of a measure and its value, where the arm was tested for it."""
    return [
        (
            name,
            seed,
            measure.title,
            float(_metrics(measure, cases, np.ones((1, len(cases.truth))))[0]),
        )
        for (name, seed), found in predictions.items()
        for measure in measures
        if len((cases := _cases(measure, found)).truth)
    ]


def difference(
    measure: Measure, ours: Sequence[pd.DataFrame], theirs: Sequence[pd.DataFrame]
) -> tuple[float, float, float]:
    """Mean difference over seeds, and its interval over patients.

    Args:
        measure: What is compared.
        ours: Predictions of one model a seed.
        theirs: Those of the others, of the same clips.
    """
    first, second = ([_cases(measure, found) for found in side] for side in (ours, theirs))
    found = paired_difference(
        _mean(measure, first),
        _mean(measure, second),
        first[0].patients,
        recipe().evaluation,
        stream(0, measure.site, 0, "benchmark.paired"),
    )[measure.metric]
    return found.value, found.low, found.high


def rows_of(figures: Figures) -> list[Row]:
    """The chosen arm against each other: none may be better by its whole interval."""
    higher = {measure.title: measure.higher_is_better for measure in MEASURES}
    rows = []
    for row in figures.differences.to_dict("records"):
        up = higher[row["measure"]]
        held = row["rival"] in (*rivals(), FLOOR)
        bar = Bar("at least" if up else "at most", 0) if held else None
        what = f"{row['measure']}: {chosen(SEEDS[0]).name} less {row['rival']}"
        rows.append(Row(what, float(row["value"])))
        end = float(row["high" if up else "low"])
        side = "upper" if up else "lower"
        rows.append(Row(f"{what}, {side} end of its interval", end, bar=bar))
    return rows


def table_of(figures: Figures) -> str:
    """One line an arm: each measure's mean over seeds, and the value of each seed."""
    lines = []
    for measure in MEASURES:
        lines += [f"{measure.title}: mean over seeds; each seed"]
        found = figures.scores[figures.scores["measure"] == measure.title]
        for arm, rows in found.groupby("arm", sort=False):
            values = dict(zip(rows["seed"], rows["value"], strict=True))
            each = "   ".join(f"{seed}: {values[seed]:.3f}" for seed in sorted(values))
            lines.append(f"  {arm:28} {rows['value'].mean():.3f}   {each}")
        lines.append("")
    lines.append(f"{chosen(SEEDS[0]).name} less another arm, with 95 % paired intervals")
    for row in figures.differences.to_dict("records"):
        ends = f"{row['value']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
        lines.append(f"  {row['measure']:32} {row['rival']:28} {ends}, {row['seeds']} seeds")
    return "\n".join(lines)


def keep(figures: Figures, rows: Sequence[Row], table: str) -> None:
    """Write every figure, and the table to read."""
    tables = {"scores": figures.scores, "differences": figures.differences}
    _kept.keep(KEPT / f"{NAME}.json", figures.context, rows, tables)
    page = _kept.page_of(TITLE, figures.context, NOTE, table, rows)
    (KEPT / f"{NAME}.md").write_text(page, encoding="utf-8")


def kept() -> Figures:
    """What :func:`keep` wrote."""
    context, tables = _kept.kept(KEPT / f"{NAME}.json")
    return Figures(context=context, **tables)


def _mean(measure: Measure, models: Sequence[Cases]) -> Statistic:
    """Mean of a metric over models of the same cases."""

    def statistic(weights: Floats) -> dict[str, Floats]:
        each = [_metrics(measure, cases, weights) for cases in models]
        return {measure.metric: np.mean(each, axis=0)}

    return statistic


def _metrics(measure: Measure, cases: Cases, weights: Floats) -> Floats:
    threshold = recipe().finetune.reduced_ef_threshold
    metrics = partial(task_metrics, measure.task, cases.truth, cases.prediction)
    return metrics(weights, threshold=threshold)[measure.metric]


def _cases(measure: Measure, predictions: pd.DataFrame) -> Cases:
    """Cases of a measure; none where the arm was not tested there."""
    return study_cases(predictions[predictions["site"] == measure.site], measure.task)
