"""R2 of patients that are left out: by hand, and by another form of the same regression."""

from __future__ import annotations

import math

import numpy as np
import pytest

from echofm_core.evaluation.ridge_probe import left_out_r2

RNG = np.random.default_rng(3)


def test_against_the_primal_form_solved_for_each_patient() -> None:
    """Weights (X'X + F I)^-1 X'y of standardised features, by another formula than the code's."""
    features, labels = RNG.normal(size=(12, 5)) * [1, 2, 3, 4, 5], RNG.normal(55, 10, 12)
    errors = []
    for row in range(12):
        others = np.arange(12) != row
        mean, sd = features[others].mean(0), features[others].std(0)
        x, y = (features[others] - mean) / sd, labels[others]
        weights = np.linalg.inv(x.T @ x + 5 * np.eye(5)) @ x.T @ (y - y.mean())
        errors.append(y.mean() + (features[row] - mean) / sd @ weights - labels[row])
    expected = 1 - np.square(errors).sum() / np.square(labels - labels.mean()).sum()
    assert left_out_r2(features, labels) == pytest.approx(expected, rel=1e-5)


def test_without_any_relation_it_is_below_zero() -> None:
    """Constant features predict the mean of the others: R2 is 1 - (n / (n - 1))^2, by hand."""
    labels = RNG.normal(size=16)
    assert left_out_r2(np.ones((16, 3)), labels) == pytest.approx(1 - (16 / 15) ** 2)


def test_many_features_that_follow_the_label_read_it() -> None:
    labels = RNG.normal(size=16)
    features = labels[:, None] * RNG.normal(size=200) + 0.1 * RNG.normal(size=(16, 200))
    assert left_out_r2(features, 10 * labels + 50) > 0.9


@pytest.mark.parametrize(
    ("features", "labels"),
    [
        (np.ones((7, 2)), np.arange(7.0)),
        (np.ones((8, 2)), np.full(8, 50.0)),
        (np.full((8, 2), np.inf), np.arange(8.0)),
    ],
)
def test_what_is_no_basis_is_nan(features: np.ndarray, labels: np.ndarray) -> None:
    assert math.isnan(left_out_r2(features, labels))
