"""How much of a patient's label a linear map reads from frozen features: a look at pre-training."""

import math

import numpy as np

from echofm_core.evaluation.ranking import Floats
from echofm_core.training.config import LEAST_PROBED

#: Penalty of the ridge, on standardised features, as a share of their number.
PENALTY = 1.0


def left_out_r2(features: Floats, labels: Floats) -> float:
    """R2 of ridge regressions that each predict one patient from all others.

    The penalty is fixed: to choose it would take patients that a probe of a few does not have.
    What is left out tells nothing to the map that is tested on it: not its mean either.

    Args:
        features: Float (N, F), a row a patient.
        labels: Float (N,), finite.

    Returns:
        At most 1; below 0 where the mean of the others predicts better. NaN with fewer than
        :data:`LEAST_PROBED` patients, labels that are all alike, or a feature that is not finite.
    """
    alike = len(np.unique(labels)) < 2
    if len(labels) < LEAST_PROBED or alike or not np.isfinite(features).all():
        return math.nan
    errors = [
        _predicted(np.delete(features, row, axis=0), np.delete(labels, row), features[row])
        - labels[row]
        for row in range(len(labels))
    ]
    return 1 - float(np.square(errors).sum() / np.square(labels - labels.mean()).sum())


def _predicted(features: Floats, labels: Floats, unseen: Floats) -> float:
    """The label of one patient (F,) by ridge on others (N, F), solved in its dual form."""
    mean, sd = features.mean(axis=0), features.std(axis=0) + 1e-6
    unit, asked = (features - mean) / sd, (unseen - mean) / sd
    gram = unit @ unit.T + PENALTY * unit.shape[1] * np.eye(len(unit))
    return float(labels.mean() + asked @ unit.T @ np.linalg.solve(gram, labels - labels.mean()))
