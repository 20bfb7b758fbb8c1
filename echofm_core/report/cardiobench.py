"""Test predictions in the files that CardioBench's evaluation reads.

A file is ``DATASET/TASK/MODEL.csv``. Keys are those of the public releases: the video's name at
EchoNet-Dynamic, the patient at CAMUS, the study (or the image, of views) at TMED-2. Other data sets
have no file: their keys are hashed here, or CardioBench does not have them.

Source: github.com/BioMedIA-MBZUAI/CardioBench, ``evaluation/example_predictions`` and the scripts
beside it, of November 2025.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from echofm_core.tasks import VIEWS, Task

#: CardioBench's view -> index of the task ``view``; it asks for A3C, which we do not tell apart.
_VIEWS = {"A2C": "A2C", "A3C": None, "A4C": "A4C", "PSAX": "PSAX", "PLAX": "PLAX", "Other": "OTHER"}


@dataclass(frozen=True, slots=True)
class Release:
    """How CardioBench names a data set, and the column that it finds a case by.

    Attributes:
        folder: Its folder.
        key: Column of measurements and diagnoses, and the column of ours that has it.
        clip: Column of views, which belong to clips; our column is ``clip_id``.
        suffix: Behind each clip's name.
    """

    folder: str
    key: tuple[str, str]
    clip: str
    suffix: str = ""


RELEASES: Mapping[str, Release] = {
    "echonet_dynamic": Release("EchoNet-Dynamic", ("FileName", "clip_id"), "FileName"),
    "camus": Release("CAMUS", ("patient_id", "patient_id"), "unique_id"),
    "tmed2": Release("TMED2", ("study_id", "study_id"), "query_key", ".png"),
}


def prediction_files(predictions: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """``DATASET/TASK/MODEL.csv`` -> its table, of each data set that CardioBench has.

    Args:
        predictions: Model -> rows of :func:`echofm_core.training.predict.predict`.
    """
    return {
        f"{release.folder}/{task}/{file_name(model)}.csv": table
        for model, rows in predictions.items()
        for dataset, release in RELEASES.items()
        for task, table in _tables(rows[rows["dataset"] == dataset], release).items()
    }


def file_name(model: str) -> str:
    """A model's name as CardioBench can take it: an underscore would mean a view or an image."""
    return model.replace("_", "-").replace(":", "-")


def _tables(rows: pd.DataFrame, release: Release) -> dict[str, pd.DataFrame]:
    """Task's folder -> table, of the tasks that have predictions here."""
    name, own = release.key
    found = {}
    ef = rows[rows["task"] == Task.EF.value]
    if len(ef):
        means = ef.groupby(own, observed=True)["prediction"].mean()
        found["EF"] = means.rename("EF_pred").rename_axis(name).reset_index()
    grades = rows[rows["task"].isin([Task.AS_GRADE.value, Task.AS_CLASS.value])]
    if len(grades):
        # Of two tasks with grades the finer one; class 0 of either is no stenosis.
        grades = grades[grades["task"] == sorted(grades["task"].unique())[-1]]
        chance = 1 - grades.groupby(own, observed=True)["p0"].mean()
        table = pd.DataFrame({"as_pred": (chance >= 0.5).astype(int), "prob_as": chance})
        found["AS"] = table.rename_axis(name).reset_index()
    views = rows[rows["task"] == Task.VIEW.value]
    if len(views):
        found["view"] = _views(views, release)
    return found


def _views(rows: pd.DataFrame, release: Release) -> pd.DataFrame:
    chances = {
        f"prob_{name}": rows[f"p{VIEWS.index(own)}"] if own else 0.0 for name, own in _VIEWS.items()
    }
    table = pd.DataFrame(chances, index=rows.index)
    best = [str(name).removeprefix("prob_") for name in table.idxmax(axis=1)]
    table.insert(0, "view_pred", best)
    table.insert(0, release.clip, rows["clip_id"].astype(str) + release.suffix)
    return table
