"""DeLong's covariance against his definition in slow loops, and against the bootstrap."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from echofm_core.evaluation.bootstrap import paired_difference
from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.evaluation.delong import auc_covariance, delong_difference
from echofm_core.evaluation.ranking import auc


def cases(count: int, seed: int, *, ties: bool = False):
    """Truth and scores of two models that share half of their noise."""
    rng = np.random.default_rng(seed)
    positive = rng.random(count) < 0.4
    shared = rng.normal(size=count)
    scores = np.stack([positive * gain + shared + rng.normal(size=count) for gain in (1.5, 0.8)])
    return positive, np.round(scores, 0) if ties else scores


def by_definition(positive, scores):
    """Equations 3 to 6 of the paper: for each positive case the mean over the negative ones of
    psi (1, 1/2 or 0), likewise for each negative one; covariances of both over their numbers."""
    v10, v01 = [], []
    for score in scores:
        psi = [[1.0 * (x > y) + 0.5 * (x == y) for y in score[~positive]] for x in score[positive]]
        v10.append(np.mean(psi, axis=1))
        v01.append(np.mean(psi, axis=0))
    return np.mean(v10, axis=1), (
        np.cov(v10, ddof=1) / positive.sum() + np.cov(v01, ddof=1) / (~positive).sum()
    )


@pytest.mark.parametrize("ties", [False, True])
def test_areas_and_covariance_are_those_of_the_definition(ties: bool) -> None:
    positive, scores = cases(60, 1, ties=ties)
    areas, covariance = auc_covariance(positive, scores, np.arange(60))
    expected = by_definition(positive, scores)
    assert areas == pytest.approx(expected[0]) and covariance == pytest.approx(expected[1])
    assert areas == pytest.approx([roc_auc_score(positive, score) for score in scores])


def test_the_test_is_normal_on_that_covariance() -> None:
    positive, scores = cases(80, 2)
    found = delong_difference(positive, *scores, np.arange(80), 0.9)
    areas, c = by_definition(positive, scores)
    law = stats.norm(0, (c[0, 0] + c[1, 1] - 2 * c[0, 1]) ** 0.5)
    value = areas[0] - areas[1]
    assert found.value == pytest.approx(value) and found.p == pytest.approx(2 * law.sf(abs(value)))
    assert found.high - value == pytest.approx(law.ppf(0.95))


def test_it_agrees_with_the_bootstrap_over_patients_with_several_cases() -> None:
    """80 patients with three cases each, whose scores share most of their noise: the interval is
    within a tenth of the bootstrap's, and one that takes cases for patients is not."""
    positive, scores = cases(80, 3)
    noise = np.random.default_rng(4).normal(0, 0.3, (2, 240))
    positive, scores = np.repeat(positive, 3), np.repeat(scores, 3, axis=1) + noise
    patients = np.repeat(np.arange(80), 3)

    def area(weights, score):
        return {"auc": auc(positive, score, weights)}

    drawn = paired_difference(
        lambda weights: area(weights, scores[0]),
        lambda weights: area(weights, scores[1]),
        patients,
        EvaluationConfig(bootstrap=2000),
        np.random.default_rng(0),
    )["auc"]
    found = delong_difference(positive, *scores, patients)
    wrong = delong_difference(positive, *scores, np.arange(240))
    width = drawn.high - drawn.low
    assert found.value == pytest.approx(drawn.value)
    assert found.high - found.low == pytest.approx(width, rel=0.1)
    assert wrong.high - wrong.low < 0.75 * width


def test_equal_models_and_missing_classes() -> None:
    positive, (score, _) = cases(40, 5)
    assert delong_difference(positive, score, score, np.arange(40)) == (0, 0, 0, 1)
    alone = np.arange(40) == 3
    found = delong_difference(alone, score, -score, np.arange(40))
    assert np.isfinite(found.value) and np.isnan(found[1:]).all()
    none = delong_difference(np.zeros(40, bool), score, -score, np.arange(40))
    assert np.isnan(none).all()


def test_equal_models_are_told_apart_as_often_as_the_level_says() -> None:
    """Two models of one law, 60 patients, 400 times at 0.05: at most 34, which a true 0.05 exceeds
    once in a thousand."""
    significant = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        positive = np.arange(60) < 25
        shared = rng.normal(size=60) + positive
        found = delong_difference(positive, *(shared + rng.normal(size=(2, 60))), np.arange(60))
        significant += found.p < 0.05
    assert significant <= 34
