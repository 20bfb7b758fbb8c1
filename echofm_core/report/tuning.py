"""What a study has tuned: ``tuning.parquet`` beside ``table.parquet``, as a table and sentences."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from echofm_core.evaluation.model_names import LOCAL, model_title
from echofm_core.pages.grid import Grid
from echofm_core.plan.study import StudyConfig
from echofm_core.runtime.text import many

#: File of a protocol and variation.
TUNING = "tuning.parquet"
#: A row a training and setting. ``patients``: by how many validation patients it is judged, 0 where
#: it diverged; ``score``: theirs, minus infinity there, NaN where so few allow none. A method of
#: several trainings (each site alone, ...) has rows of each.
TUNING_COLUMNS = ("method", "training", "setting", "patients", "score", "chosen")

UNTUNED = "Nothing was tuned: every method ran with the plan's values."
_TUNED = (
    "Every method had {settings}, the plan's own first, each trained with the first seed alone. "
    "Each training has the one with the best score for all seeds: the mean over tasks of R², AUC "
    "or, of several classes, macro AUC on the validation patients of the sites that train in it. "
    "No test patient took part, and no site that was left out or is never seen."
)


def tuning_sentence(study: StudyConfig) -> str:
    """Whether, and how, methods were tuned."""
    return _TUNED.format(settings=many(study.tune, "setting")) if study.tune else UNTUNED


def read_tuning(folder: Path, study: StudyConfig) -> pd.DataFrame:
    """Columns of :data:`TUNING_COLUMNS`; empty where nothing was tuned.

    Args:
        folder: Of a protocol and variation of a study.
        study: Of its plan.
    """
    path = folder / TUNING
    # A study that is gone on with may tune no longer.
    if not study.tune or not path.is_file():
        return pd.DataFrame(columns=list(TUNING_COLUMNS))
    return pd.read_parquet(path)


def tuning_grid(table: pd.DataFrame) -> Grid | None:
    """The table as printed, a row a training and setting; None where it is empty.

    Without the column of trainings where each method has one alone.
    """
    if table.empty:
        return None
    rows = [
        (
            str(row["method"]),
            "" if row["training"] == row["method"] else _training(row["training"]),
            str(row["setting"]),
            str(row["patients"]),
            _score(row["score"]),
            "chosen" if row["chosen"] else "",
        )
        for row in table.to_dict("records")
    ]
    columns = ("method", "training", "setting", "validation patients", "score", "for all seeds")
    if any(training for _, training, *_ in rows):
        return Grid(columns=columns, rows=tuple(rows), numbers=frozenset({3, 4}))
    short = tuple((method, *rest) for method, _, *rest in rows)
    return Grid(columns=(columns[0], *columns[2:]), rows=short, numbers=frozenset({2, 3}))


def chosen_words(table: pd.DataFrame) -> str:
    """What each training has, in one line."""
    found = []
    for row in table[table["chosen"].astype(bool)].to_dict("records"):
        where = "" if row["training"] == row["method"] else f", {_training(row['training'])}"
        found.append(f"{row['method']}{where}: {row['setting']}")
    return "; ".join(found)


def _training(arm: str) -> str:
    return model_title(arm) if arm.startswith(LOCAL) else arm.replace(":", " ")


def _score(value: float) -> str:
    if math.isnan(value):
        return "n/a"
    return f"{value:z.3f}" if math.isfinite(value) else "diverged"
