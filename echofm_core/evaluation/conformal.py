"""Split-conformal intervals: as wide as errors on validation patients say, of any model.

Source: Papadopoulos et al., ECML 2002; Lei et al., JASA 2018, 113, 1094-1111, algorithm 2.
"""

import math
from dataclasses import dataclass

import numpy as np

from echofm_core.evaluation.ranking import Floats
from echofm_core.evaluation.score import Cases

#: Nominal share of patients whose interval holds the truth.
NOMINAL = 0.9


@dataclass(frozen=True, kw_only=True, slots=True)
class Coverage:
    """How the intervals did on test patients."""

    coverage: float
    """Share of studies whose reference lies in its interval, in [0, 1]."""
    width: float
    """Mean width in the unit of the measurement, what lies beyond its legal range cut off."""
    patients: int
    validation: int
    """Patients that the width was found on."""


def conformal_radius(errors: Floats, nominal: float = NOMINAL) -> float:
    """Half the width of every interval: the k-th smallest error, k = ceil((n + 1) nominal).

    A new patient exchangeable with these n is covered with a probability of at least ``nominal``,
    and of at most ``nominal + 1 / (n + 1)`` where no two errors are equal. Infinite where k > n:
    nine patients are the fewest for 0.9.

    Args:
        errors: (n,) absolute errors, one a patient.
        nominal: In (0, 1).
    """
    # A product such as 10 * 0.9 may lie a rounding above the whole number that it is.
    rank = math.ceil((len(errors) + 1) * nominal - 1e-9)
    return float(np.sort(errors)[rank - 1]) if rank <= len(errors) else math.inf


def one_a_patient(cases: Cases) -> Floats:
    """(patients,) absolute error of each patient's first study: studies of one are no new draws."""
    first = np.unique(cases.patients, return_index=True)[1]
    return np.abs(cases.prediction - cases.truth)[first]


def coverage(validation: Cases, test: Cases, low: float, high: float) -> Coverage:
    """Intervals of a nominal 90 % from validation patients, on test patients.

    Args:
        validation: Of patients that the model did not learn from.
        test: Of other patients.
        low, high: Legal range of the measurement; an infinite interval is all of it.
    """
    errors = one_a_patient(validation)
    radius = conformal_radius(errors)
    ends = [(test.prediction + sign * radius).clip(low, high) for sign in (-1, 1)]
    inside = np.abs(test.prediction - test.truth) <= radius
    return Coverage(
        coverage=float(inside.mean()) if len(inside) else math.nan,
        width=float((ends[1] - ends[0]).mean()) if len(inside) else math.nan,
        patients=test.patient_count,
        validation=len(errors),
    )
