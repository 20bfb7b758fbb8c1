"""Split-conformal intervals against their definition and their promise."""

import math

import numpy as np
import pandas as pd
import pytest

from echofm_core.evaluation.conformal import conformal_radius, coverage, one_a_patient
from echofm_core.evaluation.score import Cases


def cases(truth, prediction, patients=None) -> Cases:
    truth = np.asarray(truth, float)
    return Cases(
        table=pd.DataFrame({"site": ["A"] * len(truth)}),
        truth=truth,
        prediction=np.asarray(prediction, float),
        patients=np.arange(len(truth)) if patients is None else np.asarray(patients),
    )


@pytest.mark.parametrize(("n", "rank"), [(9, 9), (10, 10), (19, 18), (20, 19), (99, 90)])
def test_the_radius_is_the_error_of_that_rank(n: int, rank: int) -> None:
    """Of the errors 1 to n, in any order, with ceil((n + 1) * 0.9)."""
    errors = np.random.default_rng(0).permutation(np.arange(1.0, n + 1))
    assert conformal_radius(errors) == rank


def test_eight_patients_promise_nothing() -> None:
    assert conformal_radius(np.ones(8)) == math.inf
    found = coverage(cases([50] * 8, [51] * 8), cases([50, 60], [99, 1]), 0, 100)
    assert (found.coverage, found.width, found.validation) == (1, 100, 8)


def test_it_is_the_smallest_set_that_the_definition_holds() -> None:
    """By definition a value is in the set if its rank among all n + 1 errors, its own among them,
    is at most ceil((n + 1) * nominal)."""
    rng = np.random.default_rng(1)
    errors = rng.exponential(size=37)
    radius = conformal_radius(errors)
    for value in rng.exponential(size=200):
        rank = 1 + (errors < value).sum()
        assert (value <= radius) == (rank <= math.ceil(38 * 0.9))


def test_new_patients_of_the_same_law_are_covered_as_promised() -> None:
    """Of 19 patients the radius is the 18th error: the 20th is covered with 18 / 20. Over 10,000
    draws of heavy-tailed errors the standard error is 0.003."""
    rng = np.random.default_rng(2)
    drawn = np.abs(rng.standard_t(3, (10_000, 20)))
    inside = [row[-1] <= conformal_radius(row[:-1]) for row in drawn]
    assert np.mean(inside) == pytest.approx(0.9, abs=0.01)


def test_coverage_and_width_by_hand() -> None:
    """Nine validation errors of 1 to 9: radius 9. Test errors 5, 9, 10 and 2: three of four are
    inside. Widths 18, 18, 18, and at a prediction of 97 to 88..100: 12."""
    validation = cases(np.full(9, 50), 50 + np.arange(1, 10))
    found = coverage(validation, cases([45, 59, 40, 99], [50, 50, 50, 97]), 0, 100)
    assert (found.coverage, found.width) == (0.75, pytest.approx((18 * 3 + 12) / 4))
    assert (found.patients, found.validation) == (4, 9)


def test_a_patient_counts_once_among_those_that_the_width_is_found_on() -> None:
    """Patients 0, 0, 1: errors 1 and 3."""
    found = one_a_patient(cases([50, 50, 50], [51, 59, 53], [0, 0, 1]))
    assert found.tolist() == [1, 3]
