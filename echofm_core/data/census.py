"""How many clips, patients and labels a site brings; what is printed before training."""

from __future__ import annotations

import pandas as pd

from echofm_core.plan import Plan
from echofm_core.tasks import TASKS, Task


def census(manifest: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Clips, patients and label counts by site and split."""
    rows = []
    for (site, dataset, split), part in manifest.groupby(
        ["site", "dataset", "split"], observed=True
    ):
        labels = {task.value: label_count(part, plan, task) for task in plan.finetune.tasks}
        rows.append(
            {
                "site": site,
                "dataset": dataset,
                "split": split,
                "clips": len(part),
                "patients": part["patient_id"].nunique(),
                **labels,
            }
        )
    return pd.DataFrame(rows)


def label_count(manifest: pd.DataFrame, plan: Plan, task: Task) -> int:
    """Clips with a label for a task, among the views that the protocol admits."""
    if plan.protocol.views:
        manifest = manifest[manifest["view"].isin(plan.protocol.views)]
    return int(manifest[TASKS[task].column].notna().sum())
