"""From clip-level predictions to the scores of a model, with intervals over patients."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
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

#: Test set of all sites together; those never seen have one of their own.
ALL_SITES = "all"
#: Test set of all sites that no model trained on; no site has a name with a space.
UNSEEN_SITES = "never seen"
#: Test sets of several sites.
JOINT = frozenset({ALL_SITES, UNSEEN_SITES})

#: Comparisons over several sites: in the mean, each site counting once, and at the worst of them.
MEAN_OF_SITES, WORST_SITE = "mean of sites", "worst site"
#: Likewise over the sites that no model trained on.
MEAN_UNSEEN, WORST_UNSEEN = "mean never seen", "worst never seen"
MEANS = frozenset({MEAN_OF_SITES, MEAN_UNSEEN})
WORST = frozenset({WORST_SITE, WORST_UNSEEN})

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
        return self if site == ALL_SITES else self.among({site})

    def among(self, sites: Collection[str]) -> Cases:
        """The cases of some sites."""
        here = self.table["site"].isin(list(sites)).to_numpy()
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
    predictions: pd.DataFrame,
    config: EvaluationConfig,
    rng: np.random.Generator,
    threshold: float,
    unseen: Collection[str] = (),
) -> pd.DataFrame:
    """Every metric of every task on every test set of :func:`test_sets`.

    Args:
        predictions: Rows of :func:`echofm_core.training.predict.predict` of one model.
        config: Resamples and coverage.
        rng: Draws the patients; by it, the site and the task alone, so equal generators draw the
            same patients for two models.
        threshold: EF in percent below which it is reduced.
        unseen: Sites that no model trained on.

    Returns:
        Columns site, task, metric, value, low, high, patients; NaN where undefined.
    """
    key = int(rng.integers(2**63))
    rows: list[list[object]] = []
    for task, everywhere in labelled_tasks(predictions):
        for site, cases in test_sets(everywhere, unseen).items():
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


def test_sets(cases: Cases, unseen: Collection[str] = ()) -> Mapping[str, Cases]:
    """Test set -> its cases: each site by name and all together, then likewise the unseen ones.

    Where there are unseen sites, one site alone of either kind is no set of several.
    """
    sites = sorted(map(str, cases.table["site"].unique()))
    never = [site for site in sites if site in unseen]
    seen = [site for site in sites if site not in unseen]
    sets = {site: [site] for site in seen}
    if len(seen) > 1 or not never:
        sets[ALL_SITES] = seen
    sets |= {site: [site] for site in never}
    if len(never) > 1:
        sets[UNSEEN_SITES] = never
    return {name: cases.among(members) for name, members in sets.items()}
