"""Agreement of a measurement with its reference, and whether the error grows with the value."""

from dataclasses import dataclass

import numpy as np

from echofm_core.evaluation.ranking import Floats, ratio

#: Normal quantile of 95 % limits.
Z = 1.96


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """Differences between model and reference, in the unit of the measurement.

    Attributes:
        bias: Mean of prediction minus truth.
        low, high: 95 % limits of agreement, bias -/+ 1.96 standard deviations.
        cases: How many pairs are behind it.
    """

    bias: float
    low: float
    high: float
    cases: int


def bland_altman(truth: Floats, prediction: Floats) -> Agreement:
    """Bias and limits of agreement; NaN limits with fewer than two pairs.

    Args:
        truth: (N,) reference reading.
        prediction: (N,) in the same unit.

    Source: Bland and Altman, Lancet 1986.
    """
    differences = prediction - truth
    cases = len(differences)
    bias = float(differences.mean()) if cases else float("nan")
    sd = float(np.std(differences, ddof=1)) if cases > 1 else float("nan")
    return Agreement(bias=bias, low=bias - Z * sd, high=bias + Z * sd, cases=cases)


def proportional_bias(truth: Floats, prediction: Floats, weights: Floats) -> dict[str, Floats]:
    """``slope`` (R,): of prediction minus truth on the mean of both, by least squares.

    Its sign is that of the difference of their variances. Below 0 predictions spread less than the
    reference: they are drawn to the middle. Above 0 they spread more, be it by noise alone. On the
    mean of both, not on the reference: on that, noise in the reference alone gives a slope.

    Args:
        truth: (N,) reference reading.
        prediction: (N,) in the same unit.
        weights: (R, N) how often each case is in each sample; NaN where all means are alike.

    Source: Bland and Altman, Lancet 1995, 346, 1085-1087; Statistical Methods in Medical Research
    1999, 8, 135-160, section 3.2.
    """
    error, middle = prediction - truth, (prediction + truth) / 2
    total = weights.sum(axis=1)
    mean_error, mean = ratio(weights @ error, total), ratio(weights @ middle, total)
    shared = ratio(weights @ (error * middle), total) - mean_error * mean
    spread = ratio(weights @ middle**2, total) - mean**2
    rounding = 1e-12 * float(np.max(middle**2, initial=0))
    return {"slope": ratio(shared, np.where(spread > rounding, spread, 0.0))}
