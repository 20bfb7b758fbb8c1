"""Calibration against sklearn and scipy, and by hand."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve as sklearn_curve
from sklearn.linear_model import LogisticRegression

from echofm_core.evaluation.calibration import calibration_curve, calibration_metrics

ONE = np.ones((1, 300))


def made(seed: int = 0, gain: float = 2.0):
    """Probabilities whose logits are ``gain`` times too large, and 0.5 too high."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=300)
    return rng.random(300) < expit(x), expit(gain * x + 0.5)


def test_slope_is_that_of_logistic_regression() -> None:
    positive, probability = made()
    found = calibration_metrics(positive, probability, ONE)
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    model.fit(logit(probability)[:, None], positive)
    assert found["slope"][0] == pytest.approx(model.coef_[0, 0], rel=1e-5)
    assert 0.3 < found["slope"][0] < 0.7, "half: the logits are twice too large"


def test_intercept_is_the_shift_of_largest_likelihood() -> None:
    positive, probability = made(1)

    def loss(shift: float) -> float:
        chance = expit(logit(probability) + shift)
        return -np.log(np.where(positive, chance, 1 - chance)).sum()

    found = calibration_metrics(positive, probability, ONE)["intercept"][0]
    assert found == pytest.approx(minimize_scalar(loss).x, abs=1e-6)
    assert found < 0, "the probabilities are too high"


def test_weights_are_repetitions() -> None:
    positive, probability = made(2)
    weights = np.random.default_rng(3).integers(0, 4, (5, 300)).astype(float)
    found = calibration_metrics(positive, probability, weights)
    for row, counts in enumerate(weights.astype(int)):
        repeated = [np.repeat(part, counts) for part in (positive, probability)]
        alone = calibration_metrics(*repeated, np.ones((1, counts.sum())))
        for name, values in alone.items():
            assert found[name][row] == pytest.approx(values[0], rel=1e-6), name


def test_expected_error_and_brier_by_hand() -> None:
    """Bins 0.2 to 0.3 (0.2 and 0.28: mean 0.24, observed 0.5) and 0.9 to 1 (0.9 and 1: 0.95, 1):
    (2 * 0.26 + 2 * 0.05) / 4. Brier: (0.04 + 0.5184 + 0.01 + 0) / 4."""
    positive = np.array([False, True, True, True])
    probability = np.array([0.2, 0.28, 0.9, 1.0])
    found = calibration_metrics(positive, probability, np.ones((1, 4)))
    assert found["expected_error"][0] == pytest.approx(0.155)
    assert found["brier"][0] == pytest.approx(0.5684 / 4)


def test_the_curve_is_sklearns() -> None:
    positive, probability = made(4)
    observed, predicted = sklearn_curve(positive, probability, n_bins=10, strategy="quantile")
    found = calibration_curve(positive, probability, bins=10)
    assert [point.cases for point in found] == [30] * 10
    assert [point.observed for point in found] == pytest.approx(list(observed))
    assert [point.predicted for point in found] == pytest.approx(list(predicted))
    for point in found:
        test = binomtest(round(point.observed * 30), 30)
        ends = test.proportion_ci(0.95, method="wilson")
        assert (point.low, point.high) == pytest.approx((ends.low, ends.high))


def test_no_fit_where_the_classes_part_or_one_is_absent() -> None:
    probability = np.linspace(0.01, 0.99, 300)
    for positive in (probability > 0.5, np.ones(300, bool)):
        found = calibration_metrics(positive, probability, ONE)
        assert np.isnan(found["slope"][0])
    assert np.isnan(calibration_metrics(np.ones(300, bool), probability, ONE)["intercept"][0])
    assert np.isfinite(found["expected_error"][0]) and calibration_curve(
        positive[:3], probability[:3]
    )
