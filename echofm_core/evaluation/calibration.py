"""Whether probabilities mean what they say: the curve, slope and intercept, expected error.

Shapes as in :mod:`echofm_core.evaluation.metrics`: N cases, (R, N) weights.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtri

from echofm_core.evaluation.ranking import Floats, ratio

#: Bins of equal width that the expected calibration error is taken over.
BINS = 10
#: Probabilities are kept so far from 0 and 1, whose logits are infinite.
EDGE = 1e-6
#: Newton steps, and the mean gradient from which a fit counts as found.
STEPS, FOUND = 40, 1e-8
#: A smaller mean variance of the fitted outcomes means that they are certain: there is no finite
#: fit, as the probabilities part the classes without error, or there is one class.
CERTAIN = 1e-6


class CurvePoint(NamedTuple):
    """One bin of the calibration curve."""

    predicted: float
    """Mean probability in the bin."""
    observed: float
    """Share of positive cases there, with the ends of its Wilson interval."""
    low: float
    high: float
    cases: int


def calibration_curve(
    positive: NDArray[np.bool_], probability: Floats, *, bins: int = BINS, confidence: float = 0.95
) -> list[CurvePoint]:
    """Observed against predicted in bins of about equally many cases.

    Args:
        positive: (N,) which cases are positive.
        probability: (N,) in [0, 1].
        bins: How many; fewer where there are fewer cases. Equal probabilities may part.
        confidence: Coverage of the intervals.

    Source: Wilson, JASA 1927, 22, 209-212 (interval of a share).
    """
    order = np.argsort(probability, kind="stable")
    return [
        _point(positive[part], probability[part], confidence)
        for part in np.array_split(order, min(bins, len(order)) or 1)
        if len(part)
    ]


def _point(positive: NDArray[np.bool_], probability: Floats, confidence: float) -> CurvePoint:
    n, share, z = len(positive), float(positive.mean()), float(ndtri((1 + confidence) / 2))
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * float(np.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2))
    low, high = max(0.0, centre - reach), min(1.0, centre + reach)
    return CurvePoint(float(probability.mean()), share, low, high, n)


def calibration_metrics(
    positive: NDArray[np.bool_], probability: Floats, weights: Floats
) -> dict[str, Floats]:
    """Each (R,): ``slope``, ``intercept``, ``expected_error`` and ``brier``.

    ``slope``: of the logit of the outcome on the logit of the probability; 1 is calibrated, below 1
    the probabilities are too extreme. ``intercept``: what is to be added to the logits so that the
    probabilities are right in the mean; 0 is calibrated, below 0 they are too high. Both NaN where
    there is one class, or where the probabilities part the classes without error.
    ``expected_error``: mean distance of observed and predicted over :data:`BINS` bins of equal
    width, weighed by cases; never negative, so that chance alone raises it where cases are few.

    Source: Cox, Biometrika 1958, 45, 562-565; Van Calster et al., J Clin Epidemiol 2016, 74,
    167-176; Naeini et al., AAAI 2015 (expected calibration error); Brier 1950.
    """
    outcome, total = positive.astype(np.float64), weights.sum(axis=1)
    x = logit(np.clip(probability, EDGE, 1 - EDGE))
    bins = np.minimum((probability * BINS).astype(np.int64), BINS - 1)
    member = np.eye(BINS)[bins]
    # |sum of (outcome - probability)| in a bin is its cases times the distance of the means.
    distance = np.abs(weights @ (member * (outcome - probability)[:, None])).sum(axis=1)
    return {
        "slope": _fit(x, outcome, weights, sloped=True)[:, 1],
        "intercept": _fit(x, outcome, weights, sloped=False)[:, 0],
        "expected_error": ratio(distance, total),
        "brier": ratio(weights @ (outcome - probability) ** 2, total),
    }


def _fit(x: Floats, outcome: Floats, weights: Floats, *, sloped: bool) -> Floats:
    """(R, 2) intercept and slope of logistic regressions of (N,) outcomes on (N,) logits.

    With the slope kept at 1 where not ``sloped``; NaN where there is no finite fit.
    """
    found = np.tile([0.0, 1.0], (len(weights), 1))
    total = weights.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(STEPS):
            chance = expit(found[:, :1] + found[:, 1:] * x)
            rest, spread = weights * (outcome - chance), weights * chance * (1 - chance)
            g0, g1 = rest.sum(axis=1), rest @ x
            h00, h01, h11 = spread.sum(axis=1), spread @ x, spread @ x**2
            gradient = np.maximum(np.abs(g0), np.abs(g1) if sloped else 0.0) / total
            if not (gradient > FOUND).any():
                break
            if sloped:
                determinant = h00 * h11 - h01**2
                step = np.stack([h11 * g0 - h01 * g1, h00 * g1 - h01 * g0], axis=1)
                step /= determinant[:, None]
            else:
                step = np.stack([g0 / h00, np.zeros_like(g0)], axis=1)
            found = found + np.clip(step, -5.0, 5.0)
        found[~(gradient <= FOUND) | ~(h00 / total > CERTAIN)] = np.nan
    return found
