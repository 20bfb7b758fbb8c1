"""Scores of a method that was trained several times: means over seeds, and two kinds of doubt.

The interval is over patients, as of one model: each resample draws the same patients for all seeds,
and the metric is averaged over them. The spread is over seeds, on the patients as they are. Neither
holds the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from echofm_core.evaluation.bootstrap import (
    PairedDraws,
    Statistic,
    bootstrap,
    difference,
    paired_draws,
)
from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.evaluation.metrics import task_metrics
from echofm_core.evaluation.model_names import LOCAL, model_order
from echofm_core.evaluation.paired import (
    OVER_SITES,
    PAIRED_COLUMNS,
    across_sites,
    judged,
    paired_row,
    pairs,
    whole_sets,
)
from echofm_core.evaluation.ranking import Floats
from echofm_core.evaluation.reported import REPORTED
from echofm_core.evaluation.same_predictions import tested_pairs
from echofm_core.evaluation.score import (
    COLUMNS,
    JOINT,
    Cases,
    labelled_tasks,
    study_cases,
    test_sets,
)
from echofm_core.runtime.randomness import stream
from echofm_core.tasks import Task

#: Of each seed the predictions of one model.
Seeds = Sequence[pd.DataFrame]
#: Columns of a score table over seeds.
OVER_SEEDS = (*COLUMNS, "spread", "seeds")


def score_over_seeds(
    seeds: Seeds,
    config: EvaluationConfig,
    rng: np.random.Generator,
    threshold: float,
    unseen: Collection[str] = (),
) -> pd.DataFrame:
    """Every metric of every task on every test set, averaged over the seeds.

    Args:
        seeds: Rows of :func:`echofm_core.training.predict.predict`, a table a seed.
        config, rng, threshold, unseen: As of :func:`echofm_core.evaluation.score.score`.

    Returns:
        Columns of :data:`OVER_SEEDS`. ``low`` and ``high`` bound the mean over seeds, over
        patients; NaN where seeds have other test patients. ``spread`` is the standard deviation
        between seeds, NaN of one; ``patients`` those of the first seed.
    """
    key = int(rng.integers(2**63))
    rows: list[list[object]] = []
    for task, sets in _test_sets(seeds, unseen):
        for site, cases in sets.items():
            statistics = [_statistic(task, one, threshold) for one in cases]
            paired = zip(statistics, cases, strict=True)
            alone = [statistic(np.ones((1, len(one.truth)))) for statistic, one in paired]
            draws = stream(key, site, 0, f"bootstrap.{task}")
            bounds = {}
            if _same_patients(cases):
                bounds = bootstrap(mean_of(statistics), cases[0].patients, config, draws)
            for metric in alone[0]:
                values = np.array([found[metric][0] for found in alone])
                ends = bounds[metric][1:] if metric in bounds else (np.nan, np.nan)
                spread = float(np.std(values, ddof=1)) if len(values) > 1 else np.nan
                found = [float(values.mean()), *ends, cases[0].patient_count]
                rows.append([site, task.value, metric, *found, spread, len(values)])
    return pd.DataFrame(rows, columns=list(OVER_SEEDS))


def paired_over_seeds(
    models: Mapping[str, Seeds],
    config: EvaluationConfig,
    seed: int,
    threshold: float,
    unseen: Collection[str] = (),
) -> pd.DataFrame:
    """The comparisons of :func:`echofm_core.evaluation.paired.paired_table`, of means over seeds.

    Both models are averaged over their seeds on the same drawn patients. Models whose seeds have
    other test patients are not compared.

    Args:
        models: Name -> tables, one a seed, in the order of the seeds.
        config, seed, threshold, unseen: As of ``paired_table``.
    """
    wanted = {item.task.value for item in REPORTED}
    rows = {
        name: [table[table["task"].isin(wanted)] for table in tables]
        for name, tables in models.items()
    }
    parts = [pd.DataFrame(columns=list(PAIRED_COLUMNS))]
    for model, rival in pairs(model_order(rows)):
        rng = stream(seed, "", 0, "bootstrap.paired")
        table = _compared(rows[model], rows[rival], config, rng, threshold, unseen)
        table = table[whole_sets(table, rows[model][0], unseen)].assign(model=model, rival=rival)
        if model.startswith(LOCAL):
            table = table[table["site"] == model.removeprefix(LOCAL)]
        parts.append(table)
    table = pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)
    return judged(table.assign(tested=tested_pairs(table, rows, unseen)), config)


def mean_of(statistics: Sequence[Statistic]) -> Statistic:
    """The mean of several statistics of the same cases; NaN where one of them is."""

    def statistic(weights: Floats) -> dict[str, Floats]:
        found = [one(weights) for one in statistics]
        return {name: np.mean([values[name] for values in found], axis=0) for name in found[0]}

    return statistic


def _compared(
    first: Seeds,
    second: Seeds,
    config: EvaluationConfig,
    rng: np.random.Generator,
    threshold: float,
    unseen: Collection[str],
) -> pd.DataFrame:
    """First model minus second on the cases that both predicted in all seeds."""
    key = int(rng.integers(2**63))
    ours, theirs = _shared(first, second)
    other = dict(_test_sets(theirs, unseen))
    rows: list[list[object]] = []
    for task, sets in _test_sets(ours, unseen):
        draws: dict[str, dict[str, PairedDraws]] = {}
        for site, cases in sets.items():
            rivals = other[task][site]
            if site in JOINT or not _same_patients([*cases, *rivals]):
                continue
            draws[site] = paired_draws(
                mean_of([_statistic(task, one, threshold) for one in cases]),
                mean_of([_statistic(task, one, threshold) for one in rivals]),
                cases[0].patients,
                config,
                stream(key, site, 0, f"paired.{task}"),
            )
            count = cases[0].patient_count
            rows += [
                paired_row(site, task, metric, difference(found, config), count)
                for metric, found in draws[site].items()
            ]
        for names, never in OVER_SITES:
            there = [found for site, found in draws.items() if (site in unseen) is never]
            rows += across_sites(there, task, names, config)
    return pd.DataFrame(rows, columns=[*COLUMNS, "p"])


def _shared(first: Seeds, second: Seeds) -> tuple[Seeds, Seeds]:
    """The rows whose clip and task have a truth in every table of both."""
    clip = ["dataset", "site", "clip_id", "task"]
    each = [
        table.loc[table["truth"].notna(), clip].drop_duplicates() for table in (*first, *second)
    ]
    both = each[0]
    for here in each[1:]:
        both = both.merge(here)
    return [table.merge(both) for table in first], [table.merge(both) for table in second]


def _test_sets(
    seeds: Seeds, unseen: Collection[str]
) -> Iterator[tuple[Task, dict[str, list[Cases]]]]:
    """Each task of the first seed, and test set -> its cases in every seed that has it."""
    for task, _ in labelled_tasks(seeds[0]):
        each = [test_sets(study_cases(table, task), unseen) for table in seeds]
        yield task, {name: [sets[name] for sets in each if name in sets] for name in each[0]}


def _statistic(task: Task, cases: Cases, threshold: float) -> Statistic:
    return partial(task_metrics, task, cases.truth, cases.prediction, threshold=threshold)


def _same_patients(cases: Sequence[Cases]) -> bool:
    """Whether all are of the same cases, in one order."""
    return all(one.table.equals(cases[0].table) for one in cases[1:])
