"""How many clips, patients and labels a site brings; what is printed before training."""

from collections.abc import Sequence

import pandas as pd

from echofm_core.data.manifest import Split
from echofm_core.tasks import TASKS, Task


def label_counts(
    manifest: pd.DataFrame, tasks: Sequence[Task], views: Sequence[str] = ()
) -> pd.DataFrame:
    """Clips, patients and labels of each task by site, data set and split."""
    return pd.DataFrame(
        {
            "site": site,
            "dataset": dataset,
            "split": split,
            "clips": len(part),
            "patients": part["patient_id"].nunique(),
            **{task.value: label_count(part, task, views) for task in tasks},
        }
        for (site, dataset, split), part in manifest.groupby(
            ["site", "dataset", "split"], observed=True
        )
    )


def label_count(manifest: pd.DataFrame, task: Task, views: Sequence[str] = ()) -> int:
    """Clips with a label for a task, of these views alone; of all views where none is named."""
    if views:
        manifest = manifest[manifest["view"].isin(views)]
    return int(manifest[TASKS[task].column].notna().sum())


def labelled_sites(
    manifest: pd.DataFrame, tasks: Sequence[Task], views: Sequence[str] = ()
) -> list[str]:
    """Sites with a training label for one of the tasks, in name order."""
    return [
        str(site)
        for site, rows in _training(manifest).groupby("site", observed=True)
        if any(label_count(rows, task, views) for task in tasks)
    ]


def unlabelled_notes(
    manifest: pd.DataFrame, tasks: Sequence[Task], views: Sequence[str] = ()
) -> list[str]:
    """A sentence for each task that no training clip has a label for."""
    return [
        f"No site has training labels for the planned task {task.value}; it is not trained."
        for task in tasks
        if not label_count(_training(manifest), task, views)
    ]


def _training(manifest: pd.DataFrame) -> pd.DataFrame:
    return manifest[manifest["split"] == Split.TRAIN.value]
