"""Bland-Altman agreement between a model and the reference reading."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from echofm_core.evaluation.ranking import Floats

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
