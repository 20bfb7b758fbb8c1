"""Two models on the same cases: the difference of each metric, with a paired interval."""

from functools import partial

import numpy as np
import pandas as pd

from echofm_core.evaluation.bootstrap import paired_difference
from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.evaluation.metrics import task_metrics
from echofm_core.evaluation.score import COLUMNS, labelled_tasks, study_cases, tested_sites
from echofm_core.runtime.randomness import stream

_CLIP = ["dataset", "site", "clip_id", "task"]


def compare(
    first: pd.DataFrame,
    second: pd.DataFrame,
    config: EvaluationConfig,
    rng: np.random.Generator,
    threshold: float,
) -> pd.DataFrame:
    """First model minus second, on the cases that both predicted, with paired intervals.

    Args:
        first: Rows of :func:`echofm_core.training.predict.predict` of one model.
        second: Those of the other; in any order, and not necessarily of the same clips.
        config: Resamples and coverage.
        rng: Source of the patient draws.
        threshold: EF in percent below which it is reduced.

    Returns:
        As :func:`echofm_core.evaluation.score.score`, with ``p``; ``value`` is the difference,
        and ``patients`` are those that both predicted.

    Raises:
        ValueError: The two disagree about the truth of a case.
    """
    key = int(rng.integers(2**63))
    first, second = shared_clips(first, second)
    rows: list[list[object]] = []
    for task, ours in labelled_tasks(first):
        theirs = study_cases(second, task)
        same = ours.table.equals(theirs.table)
        if not (same and np.allclose(ours.truth, theirs.truth, rtol=1e-5, atol=0)):
            raise ValueError(f"the predictions of two models disagree about the true {task.value}.")
        for site in tested_sites(ours):
            one, other = ours.at(site), theirs.at(site)
            found = paired_difference(
                partial(task_metrics, task, one.truth, one.prediction, threshold=threshold),
                partial(task_metrics, task, one.truth, other.prediction, threshold=threshold),
                one.patients,
                config,
                stream(key, site, 0, f"paired.{task}"),
            )
            for metric, item in found.items():
                numbers = (item.value, item.low, item.high, one.patient_count, item.p)
                rows.append([site, task.value, metric, *numbers])
    return pd.DataFrame(rows, columns=[*COLUMNS, "p"])


def shared_clips(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of both tables whose clip and task have a truth in both, whatever their order."""
    here, there = (
        table.loc[table["truth"].notna(), _CLIP].drop_duplicates() for table in (first, second)
    )
    both = here.merge(there)
    return first.merge(both), second.merge(both)
