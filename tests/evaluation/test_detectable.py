"""The detectable difference against experiments with that difference."""

import math

import numpy as np
import pytest
from scipy import stats

from echofm_core.evaluation.detectable import SPREAD, detectable_difference


def test_the_spread_is_that_of_normal_errors() -> None:
    errors = np.abs(np.random.default_rng(0).normal(0, 3, 400_000))
    assert errors.std() / errors.mean() == pytest.approx(SPREAD, rel=0.01)


def test_many_patients_need_the_normal_formula() -> None:
    """(1.96 + 0.8416) times the standard error of the difference."""
    error, patients = 5.0, 4000
    deviation = error * SPREAD * math.sqrt(2 * (1 - 0.3))
    expected = (stats.norm.isf(0.025) + stats.norm.isf(0.2)) * deviation / math.sqrt(patients)
    assert detectable_difference(patients, error, correlation=0.3) == pytest.approx(expected, 1e-3)


@pytest.mark.parametrize("patients", [10, 40])
def test_a_difference_of_that_size_is_found_as_often_as_said(patients: int) -> None:
    """4,000 experiments: differences with the standard deviation of the formula (correlation 0.5:
    that of one error) and that mean; Student's test at 0.05 / 4 finds 80 %."""
    rng, error = np.random.default_rng(1), 6.0
    smallest = detectable_difference(patients, error, comparisons=4)
    drawn = rng.normal(smallest, error * SPREAD, (4000, patients))
    found = stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05 / 4
    assert found.mean() == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("patients", [5, 25])
def test_the_power_is_that_of_the_noncentral_t(patients: int) -> None:
    """scipy's, at the difference over its standard error."""
    found = detectable_difference(patients, 6.0, power=0.7)
    shift = found / (6.0 * SPREAD / math.sqrt(patients))
    ends = stats.t.isf(0.025, patients - 1)
    law = stats.nct(patients - 1, shift)
    assert law.sf(ends) + law.cdf(-ends) == pytest.approx(0.7, abs=1e-3)


def test_more_comparisons_and_fewer_patients_show_less() -> None:
    assert detectable_difference(2, 5) == math.inf
    values = [detectable_difference(n, 5.0) for n in (3, 10, 30, 300)]
    assert values == sorted(values, reverse=True)
    assert detectable_difference(30, 5.0, comparisons=9) > values[2]
    assert detectable_difference(30, 5.0, correlation=0.9) < values[2]
