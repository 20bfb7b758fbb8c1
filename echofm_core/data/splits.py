"""Patient-disjoint parts of each site, official ones kept, and what labels they have."""

import hashlib
from collections.abc import Sequence

import pandas as pd

from echofm_core.data.manifest import Split, check_patients_disjoint
from echofm_core.data.patients import archives
from echofm_core.plan.protocol import ProtocolConfig
from echofm_core.tasks import TASKS, Task


def fill_splits(manifest: pd.DataFrame, config: ProtocolConfig, seed: int) -> pd.DataFrame:
    """Give every row a split.

    Data sets of one archive hold the same patients and are split together. One with an official
    split keeps it, and its rows outside of it (unlabelled extras) train; a patient with a row in
    the official test or validation part stays there whole. A data set without one is cut by patient
    within each site, by rank of a keyed hash of the patient: adding patients moves only those who
    stand at an end of a part, and then into the next one.

    Raises:
        ManifestError: A patient would be in two parts.
    """
    manifest = manifest.copy()
    for _, rows in manifest.groupby(archives(manifest), observed=True):
        if rows["split"].notna().any():
            known = rows.dropna(subset=["split"]).drop_duplicates("patient_id")
            home = known.set_index("patient_id")["split"]
            filled = rows["split"].fillna(rows["patient_id"].map(home)).fillna(Split.TRAIN)
            manifest.loc[rows.index, "split"] = filled
        else:
            for _, site_rows in rows.groupby("site", observed=True):
                parts = _cut(site_rows["patient_id"], config, seed)
                manifest.loc[site_rows.index, "split"] = site_rows["patient_id"].map(parts)
    check_patients_disjoint(manifest, "the split")
    return manifest


def _cut(patients: pd.Series, config: ProtocolConfig, seed: int) -> dict[str, str]:
    """Patient -> split, by rank of a keyed hash; at least one patient trains."""
    ranked = sorted(
        patients.unique(), key=lambda name: hashlib.sha256(f"{seed}|{name}".encode()).digest()
    )
    test = min(round(config.test_fraction * len(ranked)), len(ranked) - 1)
    validation = min(round(config.validation_fraction * len(ranked)), len(ranked) - 1 - test)
    names = [Split.TEST] * test + [Split.VALIDATION] * validation
    names += [Split.TRAIN] * (len(ranked) - len(names))
    return {patient: split.value for patient, split in zip(ranked, names, strict=True)}


def split_digest(manifest: pd.DataFrame) -> str:
    """SHA-256, in hex, of who is where: site and split of every clip, whatever their order."""
    keys = ["dataset", "patient_id", "clip_id", "site", "split"]
    lines = sorted("\x1f".join(map(str, row)) for row in manifest[keys].itertuples(index=False))
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


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
