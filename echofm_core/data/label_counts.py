"""How many clips, patients and labels a site brings; what is printed before training."""

from __future__ import annotations

import pandas as pd

from echofm_core.plan.document import Plan
from echofm_core.tasks import TASKS, Task


def label_counts(manifest: pd.DataFrame, plan: Plan) -> pd.DataFrame:
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


def labelled_sites(manifest: pd.DataFrame, plan: Plan) -> list[str]:
    """Sites with a training label for a planned task, in name order."""
    train = manifest[manifest["split"] == "train"]
    return [
        str(site)
        for site, rows in train.groupby("site", observed=True)
        if any(label_count(rows, plan, task) for task in plan.finetune.tasks)
    ]


def unlabelled_notes(manifest: pd.DataFrame, plan: Plan) -> list[str]:
    """A sentence for each planned task that no training clip has a label for."""
    train = manifest[manifest["split"] == "train"]
    planned = plan.finetune.tasks if plan.finetune.rounds else ()
    return [
        f"No site has training labels for the planned task {task.value}; it is not trained."
        for task in planned
        if not label_count(train, plan, task)
    ]
