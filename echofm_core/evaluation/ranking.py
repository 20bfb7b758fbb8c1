"""Area under the ROC and precision-recall curves for many weightings of the same cases at once.

Shapes: N cases, R weightings (one row of bootstrap counts each). Weighting a case by k is the same
as having it k times, so one sort serves every resample. ``positive`` (N,) says which cases are
positive; ``score`` (N,) is finite, higher means more likely positive; ``weights`` (R, N) are not
negative.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def auc(positive: NDArray[np.bool_], score: Floats, weights: Floats) -> Floats:
    """Probability that a positive case outranks a negative one; a tie counts one half.

    Returns (R,) in [0, 1]; NaN where one of the classes is absent.
    """
    hits, misses = _by_score(positive, score, weights)
    below = np.cumsum(misses, axis=1) - misses
    won = (hits * (below + 0.5 * misses)).sum(axis=1)
    return ratio(won, hits.sum(axis=1) * misses.sum(axis=1))


def average_precision(positive: NDArray[np.bool_], score: Floats, weights: Floats) -> Floats:
    """Precision averaged over the recall gained at each distinct score, without interpolation.

    Returns (R,) in [0, 1]; NaN where there is no positive case.
    """
    hits, misses = (part[:, ::-1] for part in _by_score(positive, score, weights))
    found = np.cumsum(hits, axis=1)
    precision = ratio(found, found + np.cumsum(misses, axis=1))
    gained = np.where(hits > 0, hits * precision, 0.0).sum(axis=1)
    return ratio(gained, found[:, -1])


def roc_curve(positive: NDArray[np.bool_], score: Floats) -> tuple[Floats, Floats]:
    """Corner points of the ROC curve, one a distinct score, from (0, 0) to (1, 1).

    Both classes must be there. Returns false-positive and true-positive rates, ascending.
    """
    hits, misses = (part[0, ::-1] for part in _by_score(positive, score, np.ones((1, len(score)))))
    rates = [np.concatenate([[0.0], np.cumsum(part)]) / part.sum() for part in (misses, hits)]
    return rates[0], rates[1]


def ratio(above: Floats, below: Floats) -> Floats:
    """Quotient that is NaN, silently, where the denominator is zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(below > 0, above / below, np.nan)


def _by_score(positive: NDArray[np.bool_], score: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Weight of positives and of negatives at each distinct score, ascending: two (R, K)."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf))
    ordered = np.take(weights, order, axis=1)
    if len(starts) == len(score):  # no ties, nothing to add up
        return ordered * positive[order], ordered * ~positive[order]
    hits = np.add.reduceat(ordered * positive[order], starts, axis=1)
    misses = np.add.reduceat(ordered * ~positive[order], starts, axis=1)
    return hits, misses
