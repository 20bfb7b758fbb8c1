"""The smallest difference that a number of test patients can show, before anything is trained."""

import math

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import chi2, t

#: Standard deviation of a patient's absolute EF error, over its mean: sqrt(pi / 2 - 1) for normal
#: errors.
SPREAD = math.sqrt(math.pi / 2 - 1)
#: Correlation of two models' absolute errors over the same patients, where nothing is known.
CORRELATION = 0.5
POWER = 0.8
#: Quantiles that a power is averaged over.
POINTS = 4000


def detectable_difference(
    patients: int,
    error: float,
    *,
    correlation: float = CORRELATION,
    level: float = 0.05,
    comparisons: int = 1,
    power: float = POWER,
) -> float:
    """Smallest difference of two mean absolute errors that a paired test finds with that power.

    The difference of two models' absolute errors has, over patients, a standard deviation of
    ``error * SPREAD * sqrt(2 (1 - correlation))``; the test is Student's, two-sided, with
    patients - 1 degrees of freedom, at ``level / comparisons``: Holm's level where nothing else is
    found. Errors with heavier tails than the normal law need a larger difference.

    R2 has no such number: its spread depends on that of EF among the patients, which nobody knows
    before.

    Args:
        patients: Test patients of both models.
        error: Expected mean absolute error, e.g. in points of EF.
        correlation: Of both models' absolute errors, in [-1, 1).
        level: Of the family of comparisons, in (0, 1).
        comparisons: How many there are in it.
        power: Probability to find a difference of that size, in (level, 1).

    Returns:
        In the unit of ``error``; infinite with fewer than three patients.

    Source: Cohen, Statistical Power Analysis, 1988, chapter 2; power from the noncentral t.
    """
    if patients < 3:
        return math.inf
    spread = error * SPREAD * math.sqrt(2 * (1 - correlation))
    free = patients - 1
    critical = float(t.isf(level / comparisons / 2, free))
    # The noncentral t over the law of the standard deviation; scipy's own has holes far out.
    deviations = np.sqrt(chi2.ppf((np.arange(POINTS) + 0.5) / POINTS, free) / free)

    def missing(shift: float) -> float:
        ends = critical * deviations
        return float((ndtr(shift - ends) + ndtr(-shift - ends)).mean()) - power

    shift = brentq(missing, 0.0, 3 * critical + 10)
    return float(shift) * spread / math.sqrt(patients)
