"""DeLong's test of AUCs: an error without resampling, to stand beside the bootstrap's.

Where a patient has several cases, these count together (Obuchowski); with one case a patient the
result is DeLong's.

Source: DeLong, DeLong and Clarke-Pearson, Biometrics 1988, 44, 837-845; Obuchowski, Biometrics
1997, 53, 567-578; midranks as Sun and Xu, IEEE Signal Processing Letters 2014, 21, 1389-1393.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from echofm_core.evaluation.bootstrap import UNDEFINED, Difference
from echofm_core.evaluation.ranking import Floats


def delong_difference(
    positive: NDArray[np.bool_],
    first: Floats,
    second: Floats,
    patients: NDArray[np.int64],
    confidence: float = 0.95,
) -> Difference:
    """AUC of the first model minus that of the second, on the same cases.

    Args:
        positive: (N,) which cases are positive.
        first, second: (N,) finite scores of both models, higher means more likely positive.
        patients: (N,) patient of each case, numbered from 0 without gaps.
        confidence: Coverage of the interval.

    Returns:
        The difference with a normal interval and p; these are NaN with fewer than two patients of
        either class. Models that order all pairs of cases alike have p = 1.
    """
    areas, covariance = auc_covariance(positive, np.stack([first, second]), patients)
    value = float(areas[0] - areas[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if not np.isfinite(variance):
        return Difference(value, *UNDEFINED)
    error = float(np.sqrt(max(variance, 0.0)))
    if error < 1e-12:
        return Difference(value, value, value, float(abs(value) < 1e-12))
    reach = float(ndtri((1 + confidence) / 2)) * error
    return Difference(value, value - reach, value + reach, 2 * float(ndtr(-abs(value) / error)))


def auc_covariance(
    positive: NDArray[np.bool_], scores: Floats, patients: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """AUCs of (M, N) scores of M models, and their (M, M) covariance.

    NaN where a class is absent; the covariance also where it has one patient alone.
    """
    models, hits, misses = len(scores), int(positive.sum()), int((~positive).sum())
    if not hits or not misses:
        return np.full(models, np.nan), np.full((models, models), np.nan)
    above = np.stack([_placements(score[positive], score[~positive]) for score in scores])
    below = np.stack([_placements(-score[~positive], -score[positive]) for score in scores])
    areas = above.mean(axis=1)
    owners = [patients[positive], patients[~positive]]
    if min(len(np.unique(owner)) for owner in owners) < 2:
        return areas, np.full((models, models), np.nan)
    # Sums of a patient's deviations, of its positive and of its negative cases: (M, patients).
    count = int(patients.max()) + 1
    up = _sums(above - areas[:, None], owners[0], count)
    down = _sums(below - areas[:, None], owners[1], count)
    cross = _product(up, down, len(np.unique(patients)))
    covariance = (
        _product(up, up, len(np.unique(owners[0]))) / hits**2
        + _product(down, down, len(np.unique(owners[1]))) / misses**2
        + (cross + cross.T) / (hits * misses)
    )
    return areas, covariance


def _placements(scores: Floats, others: Floats) -> Floats:
    """(n,) share of the (m,) others that each score is above; a tie counts one half."""
    both = np.concatenate([scores, others])
    ranks = rankdata(both)[: len(scores)] - rankdata(scores)
    return np.asarray(ranks / len(others))


def _sums(deviations: Floats, owners: NDArray[np.int64], count: int) -> Floats:
    """(M, n) deviations to (M, count), summed by patient."""
    summed = np.zeros((len(deviations), count))
    for row, values in zip(summed, deviations, strict=True):
        np.add.at(row, owners, values)
    return summed


def _product(first: Floats, second: Floats, clusters: int) -> Floats:
    """Sum over clusters of products, of a sample of so many; (M, M)."""
    return np.asarray(first @ second.T * (clusters / (clusters - 1)))
