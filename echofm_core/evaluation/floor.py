"""The floor of every table: ridge regression on coarse grey statistics, without a network.

A model that does not beat it has learnt nothing that a linear fit could not. Each site fits it on
its own training patients and is tested on its own test patients, so that it is also what a
hospital can compute at home, and no patient's data are pooled for it.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, softmax

from echofm_core.data.patients import patient_keys
from echofm_core.data.windows import ClipWindows
from echofm_core.evaluation.ranking import Floats
from echofm_core.evaluation.score_table import LEAST_PATIENTS
from echofm_core.runtime.randomness import stream
from echofm_core.tasks import TASKS, Task, TaskKind
from echofm_core.training.config import FinetuneConfig
from echofm_core.training.objectives.targets import labels_of
from echofm_core.training.predict import COLUMNS, IDENTITY, task_rows

#: Most cells of the grid along each side of a frame.
CELLS = 32
#: Penalties tried, for each training clip, on standardised features.
PENALTIES = (0.003, 0.03, 0.3, 3.0, 30.0)
#: Parts of the patients in cross-validation; as many patients are needed at least.
FOLDS = LEAST_PATIENTS


@dataclass(frozen=True, slots=True)
class Ridge:
    """A fitted linear map."""

    mean: Floats
    """(F,) of the training features, as ``sd``."""
    sd: Floats
    weights: Floats
    """(F, K)."""
    intercept: Floats
    """(K,)."""
    residual: float
    """Root mean square error over patients that were left out, in target units."""

    def __call__(self, features: Floats) -> Floats:
        """Features (N, F) to estimates (N, K)."""
        return np.asarray(((features - self.mean) / self.sd) @ self.weights + self.intercept)


def floor_predictions(
    train: ClipWindows, test: ClipWindows, config: FinetuneConfig, *, seed: int, site: str
) -> pd.DataFrame:
    """Fit on a site's training clips, predict its test clips.

    Regression tasks are fitted as the model's are (volumes in logarithms); a reduced EF has the
    probability that a normal error of the left-out patients' size puts the estimated EF below the
    threshold; classes have the softmax of one-hot estimates over that error.

    Args:
        train: Clips with labels to learn from.
        test: Clips to predict.
        config: Tasks and the threshold of a reduced EF.
        seed, site: Name the stream that draws the folds of cross-validation.

    Returns:
        Rows as of :func:`echofm_core.training.predict.predict`. A task has none where fewer than
        :data:`FOLDS` training patients have its label, or all have the same one.
    """
    threshold = config.reduced_ef_threshold
    known = labels_of(train.manifest, config.tasks, threshold)
    asked = labels_of(test.manifest, config.tasks, threshold)
    tables = [pd.DataFrame(columns=COLUMNS)]
    if known and len(train) and len(test):
        features, unseen = grey_statistics(train), grey_statistics(test)
        persons = pd.factorize(patient_keys(train.manifest))[0]
        folds = _folds(persons, seed, site)
        identity = test.manifest[IDENTITY].reset_index(drop=True)
        efs = labels_of(train.manifest, (Task.EF,), threshold)[Task.EF]
        for task in config.tasks:
            label = efs if task is Task.REDUCED_EF else known[task]
            rows = np.isfinite(label)
            if len(np.unique(persons[rows])) < FOLDS or len(np.unique(label[rows])) < 2:
                continue
            ridge = fit_ridge(features[rows], _targets(task, label[rows]), folds[rows])
            estimates = _natural(task, ridge(unseen), ridge.residual, threshold)
            tables.append(task_rows(identity, task, asked[task], estimates.astype(np.float32)))
    return pd.concat([table for table in tables if len(table)] or tables, ignore_index=True)


def grey_statistics(clips: ClipWindows) -> Floats:
    """Logarithms of the temporal standard deviation and of the mean of grey in each grid cell.

    Of the first test window of N clips: (N, 2 g g), with g the most cells up to :data:`CELLS` that
    divide a frame evenly.
    """
    return np.stack(
        [_statistics(clips.test_windows(index)[0].frames) for index in range(len(clips))]
    )


def fit_ridge(features: Floats, targets: Floats, folds: NDArray[np.int64]) -> Ridge:
    """Ridge regression of (N, K) on (N, F), its penalty by cross-validation over (N,) folds.

    Source: Hoerl and Kennard 1970; solved for all penalties by one eigendecomposition.
    """
    errors = np.zeros(len(PENALTIES))
    for held in (folds == fold for fold in np.unique(folds) if (folds != fold).any()):
        for index, ridge in enumerate(_ridges(features[~held], targets[~held])):
            errors[index] += float(np.square(ridge(features[held]) - targets[held]).sum())
    best = int(errors.argmin())
    residual = float(np.sqrt(errors[best] / targets.size))
    return replace(_ridges(features, targets)[best], residual=max(residual, 1e-6))


def _ridges(features: Floats, targets: Floats) -> list[Ridge]:
    """One for each penalty, which counts once for each row.

    From one eigendecomposition of the smaller of both Gram matrices.
    """
    mean, sd = features.mean(axis=0), features.std(axis=0) + 1e-6
    unit = (features - mean) / sd
    intercept = targets.mean(axis=0)
    wide = unit.shape[0] < unit.shape[1]
    values, vectors = np.linalg.eigh(unit @ unit.T if wide else unit.T @ unit)
    along = vectors.T @ (targets - intercept if wide else unit.T @ (targets - intercept))
    solved = (vectors @ (along / (values + p * len(unit))[:, None]) for p in PENALTIES)
    return [Ridge(mean, sd, unit.T @ x if wide else x, intercept, np.nan) for x in solved]


def _folds(persons: NDArray[np.int64], seed: int, site: str) -> NDArray[np.int64]:
    """Each patient's part."""
    parts = np.arange(persons.max(initial=0) + 1) % FOLDS
    return np.asarray(stream(seed, site, 0, "floor").permutation(parts)[persons])


def _statistics(frames: NDArray[np.uint8]) -> Floats:
    """Of one window (T, S, S)."""
    count, size = len(frames), frames.shape[-1]
    cells = max(n for n in range(1, min(CELLS, size) + 1) if size % n == 0)
    side = size // cells
    grey = frames.reshape(count, cells, side, cells, side).mean(axis=(2, 4), dtype=np.float64)
    statistics: Floats = np.concatenate([grey.std(axis=0).ravel(), grey.mean(axis=0).ravel()])
    return np.log(statistics + 1)


def _targets(task: Task, label: NDArray[np.float32]) -> Floats:
    """(N, 1) in model units, or (N, classes) one-hot."""
    spec = TASKS[task]
    if spec.kind is TaskKind.MULTICLASS:
        return np.asarray(np.eye(spec.outputs)[label.astype(np.int64)])
    values = np.log(label) if spec.log else label
    return values.astype(np.float64)[:, None]


def _natural(task: Task, estimates: Floats, residual: float, threshold: float) -> Floats:
    """(N,) in the task's unit or probability, or (N, classes) probabilities."""
    spec = TASKS[task]
    if spec.kind is TaskKind.MULTICLASS:
        return np.asarray(softmax(estimates / residual, axis=1))
    if spec.kind is TaskKind.BINARY:
        return np.asarray(ndtr((threshold - estimates[:, 0]) / residual))
    values = np.exp(estimates[:, 0]) if spec.log else estimates[:, 0]
    return np.asarray(values.clip(spec.low, spec.high))
