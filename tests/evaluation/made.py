"""Made-up predictions in the columns of ``training.predict``; random numbers, no model."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from echofm_core.tasks import AS_GRADES, TASKS, Task, TaskKind

COLUMNS = [
    "dataset", "site", "patient_id", "study_id", "clip_id", "view", "task", "truth", "prediction",
    *(f"p{grade}" for grade in range(len(AS_GRADES))),
]  # fmt: skip


def prediction_rows(
    patients: Mapping[str, int],
    tasks: Sequence[Task] = (Task.EF, Task.REDUCED_EF),
    *,
    clips: int = 1,
    noise: float = 6.0,
    seed: int = 0,
) -> pd.DataFrame:
    """Rows of one model: ``patients[site]`` patients of one study with some clips each."""
    rows = []
    for site, count in patients.items():
        truth = np.random.default_rng([1, *site.encode()])
        model = np.random.default_rng([seed, *site.encode()])
        for patient in range(count):
            ef, grade = float(np.clip(truth.normal(55, 13), 10, 85)), int(truth.integers(5))
            for clip in range(clips):
                guess = float(np.clip(ef + model.normal(0, noise), 5, 90))
                head = [site, site, f"p{patient}", f"s{patient}", f"{site}{patient}-{clip}", "A4C"]
                logits = 2 * np.eye(5)[grade] + model.normal(0, 0.2 * noise, 5)
                for task in tasks:
                    rows.append([*head, task.value, *_answer(task, ef, guess, grade, logits)])
    return pd.DataFrame(rows, columns=COLUMNS)


def _answer(task, ef, guess, grade, logits):
    if TASKS[task].kind is TaskKind.MULTICLASS:
        chances = np.exp(logits) / np.exp(logits).sum()
        return float(grade), float(chances.argmax()), *chances
    nothing = (np.nan,) * len(AS_GRADES)
    if task is Task.REDUCED_EF:
        return float(ef < 50), 1 / (1 + np.exp((guess - 50) / 5)), *nothing
    return ef, guess, *nothing
