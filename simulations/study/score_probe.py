"""How long the scores of one model take: intervals over the very test patients of a plan.

The predictions are made up, and thrown away: what is drawn and summed does not depend on them.
"""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echofm_core.data.manifest import Split
from echofm_core.evaluation.paired import compare
from echofm_core.evaluation.score import score
from echofm_core.plan.document import Plan
from echofm_core.runtime.randomness import stream
from echofm_core.tasks import TASKS, Task, TaskKind
from echofm_core.training.objectives.targets import labels_of
from echofm_core.training.predict import IDENTITY, task_rows

Floats = NDArray[np.float32]

#: Comparisons of a model: with the one that others are compared with, and with the floor.
COMPARED = 2


def score_seconds(plan: Plan, manifest: pd.DataFrame) -> float:
    """Seconds of one model's scores and comparisons; 0 without test labels."""
    rows = predictions(plan, manifest)
    if rows.empty:
        return 0.0
    threshold, unseen = plan.finetune.reduced_ef_threshold, plan.protocol.unseen
    draws = stream(plan.seed, "", 0, "probe.bootstrap")
    started = time.monotonic()
    score(rows, plan.evaluation, draws, threshold, unseen)
    scored = time.monotonic()
    compare(rows, rows, plan.evaluation, draws, threshold, unseen)
    return (scored - started) + COMPARED * (time.monotonic() - scored)


def predictions(plan: Plan, manifest: pd.DataFrame) -> pd.DataFrame:
    """A row a test clip and labelled task, as ``training.predict`` makes them: the truth itself."""
    test = manifest[manifest["split"] == Split.TEST.value]
    if plan.protocol.views:
        test = test[test["view"].isin(list(plan.protocol.views))]
    if test.empty or not plan.finetune.rounds:
        return pd.DataFrame()
    labels = labels_of(test, plan.finetune.tasks, plan.finetune.reduced_ef_threshold)
    identity = test[IDENTITY].reset_index(drop=True)
    tables = [
        task_rows(identity, task, truth, _guess(task, truth)) for task, truth in labels.items()
    ]
    return pd.concat(tables, ignore_index=True)


def _guess(task: Task, truth: Floats) -> Floats:
    """The truth, (N,) or as (N, classes) probabilities; of no label, anything."""
    known = np.nan_to_num(truth)
    if TASKS[task].kind is TaskKind.MULTICLASS:
        every: Floats = np.eye(TASKS[task].outputs, dtype=np.float32)
        return every[known.astype(np.int64)]
    return known.astype(np.float32)
