"""From clip-level predictions to the scores of a model, with intervals over patients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echofm_core.data.patients import patient_keys
from echofm_core.evaluation.bootstrap import bootstrap
from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.evaluation.metrics import task_metrics
from echofm_core.evaluation.ranking import Floats
from echofm_core.runtime.randomness import stream
from echofm_core.tasks import TASKS, Task, TaskKind

#: Site name of the pooled test set.
ALL_SITES = "all"

COLUMNS = ("site", "task", "metric", "value", "low", "high", "patients")

_KEYS = ["dataset", "site", "patient_id", "unit"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Cases:
    """What a metric counts: one case a study (for ``view``, one a clip)."""

    table: pd.DataFrame
    """Keys of each case and its site, one row a case, in a fixed order."""
    truth: Floats
    """(N,) natural units, 0/1, or class index."""
    prediction: Floats
    """(N,) natural units or probability; (N, C) probabilities where multi-class."""
    patients: NDArray[np.int64]
    """(N,) patient number from 0."""

    @property
    def patient_count(self) -> int:
        """Distinct patients."""
        return int(self.patients.max(initial=-1)) + 1

    def at(self, site: str) -> Cases:
        """The cases of one site; all of them for ``ALL_SITES``."""
        if site == ALL_SITES:
            return self
        here = (self.table["site"] == site).to_numpy()
        _, patients = np.unique(self.patients[here], return_inverse=True)
        return Cases(
            table=self.table[here],
            truth=self.truth[here],
            prediction=self.prediction[here],
            patients=patients,
        )


def study_cases(predictions: pd.DataFrame, task: Task) -> Cases:
    """Mean over the clips of a study, of rows of :func:`echofm_core.training.predict.predict`.

    The view belongs to a clip, so its cases are clips. A clip whose study is unknown is a study of
    its own.
    """
    spec = TASKS[task]
    rows = predictions[(predictions["task"] == task.value) & predictions["truth"].notna()]
    unit = rows["clip_id"] if task is Task.VIEW else rows["study_id"].fillna(rows["clip_id"])
    several = spec.kind is TaskKind.MULTICLASS
    columns = [f"p{c}" for c in range(spec.outputs)] if several else ["prediction"]
    how = {"truth": "mean" if spec.kind is TaskKind.REGRESSION else "first"}
    table = (
        # A mean skips missing values: a model that failed on a clip must not score by the others.
        rows.assign(unit=unit, **rows[columns].fillna(np.inf))
        .groupby(_KEYS, observed=True, dropna=False)
        .agg({**how, **dict.fromkeys(columns, "mean")})
        .reset_index()
    )
    patients = pd.factorize(patient_keys(table), sort=True)[0]
    prediction = table[columns].to_numpy(dtype=np.float64)
    return Cases(
        table=table[_KEYS],
        truth=table["truth"].to_numpy(dtype=np.float64),
        prediction=prediction if several else prediction[:, 0],
        patients=np.asarray(patients, dtype=np.int64),
    )


def score(
    predictions: pd.DataFrame, config: EvaluationConfig, rng: np.random.Generator, threshold: float
) -> pd.DataFrame:
    """Every metric of every task at every site, and over all sites together as site ``all``.

    Args:
        predictions: Rows of :func:`echofm_core.training.predict.predict` of one model.
        config: Resamples and coverage.
        rng: Draws the patients; by it, the site and the task alone, so equal generators draw the
            same patients for two models.
        threshold: EF in percent below which it is reduced.

    Returns:
        Columns site, task, metric, value, low, high, patients; NaN where undefined.
    """
    key = int(rng.integers(2**63))
    rows: list[list[object]] = []
    for task, everywhere in labelled_tasks(predictions):
        for site in tested_sites(everywhere):
            cases = everywhere.at(site)
            metrics = partial(
                task_metrics, task, cases.truth, cases.prediction, threshold=threshold
            )
            draws = stream(key, site, 0, f"bootstrap.{task}")
            rows += [
                [site, task.value, metric, *found, cases.patient_count]
                for metric, found in bootstrap(metrics, cases.patients, config, draws).items()
            ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def labelled_tasks(predictions: pd.DataFrame) -> Iterator[tuple[Task, Cases]]:
    """Each task that has labels in these predictions, by name, with its cases."""
    for name in sorted(predictions.loc[predictions["truth"].notna(), "task"].unique()):
        yield Task(name), study_cases(predictions, Task(name))


def tested_sites(cases: Cases) -> list[str]:
    """Sites of the cases by name, then all of them together."""
    return [*sorted(map(str, cases.table["site"].unique())), ALL_SITES]
