"""Proportional bias against scipy's regression; the limits are in tests/report/test_parts.py."""

import numpy as np
import pytest
from scipy import stats

from echofm_core.evaluation.bland_altman import bland_altman, proportional_bias


def test_the_slope_is_that_of_the_regression_on_the_mean_of_both() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(55, 12, 80)
    prediction = 0.7 * truth + 20 + rng.normal(0, 4, 80)
    weights = np.stack([np.ones(80), rng.integers(0, 3, 80).astype(float)])
    found = proportional_bias(truth, prediction, weights)["slope"]
    for slope, counts in zip(found, weights.astype(int), strict=True):
        x, y = (np.repeat(v, counts) for v in ((truth + prediction) / 2, prediction - truth))
        assert slope == pytest.approx(stats.linregress(x, y).slope)
    assert found[0] < -0.1, "predictions are drawn to the middle"


def test_by_hand_and_undefined() -> None:
    """Errors -2, 0, 2 at means 39, 50, 61: 4 / 22. One mean alone has no slope."""
    truth = np.array([40.0, 50.0, 60.0])
    slope = proportional_bias(truth, np.array([38.0, 50.0, 62.0]), np.ones((1, 3)))["slope"]
    assert slope[0] == pytest.approx(4 / 22)
    same = proportional_bias(np.full(3, 5.0), np.full(3, 5.0), np.ones((1, 3)))["slope"]
    assert np.isnan(same[0])


def test_limits_by_hand() -> None:
    """Errors 1, 2, 3: bias 2, standard deviation 1."""
    found = bland_altman(np.zeros(3), np.array([1.0, 2.0, 3.0]))
    assert (found.bias, found.low, found.high, found.cases) == (2, 2 - 1.96, 2 + 1.96, 3)
