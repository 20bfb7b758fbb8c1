"""What models predicted for test patients, by who was left out, and their metrics."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from echofm_core.evaluation.metrics import task_metrics
from echofm_core.evaluation.ranking import Floats
from echofm_core.evaluation.score import ALL_SITES, Cases, study_cases
from echofm_core.tasks import Task
from echofm_core.training.config import FinetuneConfig


class Key(NamedTuple):
    """One model."""

    fold: str
    """The institution that was left out, or the name of the study that leaves out none."""
    model: str
    seed: int


class Measure(NamedTuple):
    """A metric of a task."""

    task: Task
    metric: str


EF_R2 = Measure(Task.EF, "r2")
STENOSIS_AUC = Measure(Task.AS_GRADE, "macro_auc")


class Predictions:
    """Predictions of many models.

    Args:
        rows: Model -> rows of :func:`echofm_core.training.predict.predict`.
    """

    def __init__(self, rows: Mapping[Key, pd.DataFrame]) -> None:
        self.rows = rows
        self._cases: dict[tuple[Key, Task], Cases] = {}

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """In order."""
        return tuple(sorted({key.seed for key in self.rows}))

    def models(self, fold: str) -> list[str]:
        """Names of a fold's models, in the order that they came."""
        return list(dict.fromkeys(key.model for key in self.rows if key.fold == fold))

    def sites(self, fold: str, model: str, task: Task) -> list[str]:
        """Where a model was tested for a task, by name."""
        cases = self._every_case(Key(fold, model, self.seeds[0]), task)
        return sorted(map(str, cases.table["site"].unique()))

    def cases(self, key: Key, site: str, task: Task) -> Cases:
        """Test cases of a model at a site, or at all with :data:`ALL_SITES`."""
        every = self._every_case(key, task)
        return every if site == ALL_SITES else every.among({site})

    def patients(self, fold: str, model: str, site: str, task: Task) -> int:
        """Test patients of a model at a site."""
        return self.cases(Key(fold, model, self.seeds[0]), site, task).patient_count

    def mean(self, fold: str, model: str, site: str, measure: Measure) -> float:
        """A metric, averaged over the seeds."""
        each = self.each(fold, model, site, measure)
        return sum(each.values()) / len(each)

    def each(self, fold: str, model: str, site: str, measure: Measure) -> dict[int, float]:
        """Seed -> metric."""
        found = {}
        for seed in self.seeds:
            cases = self.cases(Key(fold, model, seed), site, measure.task)
            once = np.ones((1, len(cases.truth)))
            found[seed] = float(metric_of(cases, measure, once)[0])
        return found

    def _every_case(self, key: Key, task: Task) -> Cases:
        if (key, task) not in self._cases:
            self._cases[key, task] = study_cases(self.rows[key], task)
        return self._cases[key, task]


def metric_of(cases: Cases, measure: Measure, weights: Floats) -> Floats:
    """(R,) values of a metric for (R, N) weights of its cases."""
    threshold = FinetuneConfig().reduced_ef_threshold
    found = task_metrics(measure.task, cases.truth, cases.prediction, weights, threshold)
    return found[measure.metric]


def few_shot_name(patients: int) -> str:
    """Name of the model that is fine-tuned on so many patients."""
    return f"fedavg, then {patients} patients there"
