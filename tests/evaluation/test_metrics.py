"""Metrics against scikit-learn and SciPy, which share no code with ours."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as reference

from echofm_core.evaluation.metrics import (
    binary_metrics,
    multiclass_metrics,
    regression_metrics,
    task_metrics,
)
from echofm_core.evaluation.ranking import auc, roc_curve
from echofm_core.tasks import Task

RNG = np.random.default_rng(5)


def plain(values):
    return {name: float(value[0]) for name, value in values.items()}


def one(cases):
    return np.ones((1, cases))


def test_regression_agrees_with_sklearn_and_scipy() -> None:
    truth = RNG.normal(55, 12, 200)
    prediction = 0.7 * truth + RNG.normal(10, 6, 200)
    found = plain(regression_metrics(truth, prediction, one(200)))
    line = stats.linregress(prediction, truth)
    assert found == pytest.approx(
        {
            "mae": reference.mean_absolute_error(truth, prediction),
            "rmse": reference.root_mean_squared_error(truth, prediction),
            "r2": reference.r2_score(truth, prediction),
            "pearson": stats.pearsonr(truth, prediction).statistic,
            "bias": float(np.mean(prediction - truth)),
            "calibration_slope": line.slope,
        },
        rel=1e-9,
    )


def test_regression_by_hand() -> None:
    """Errors 0, 2, 4: MAE 2, bias 2, RMSE sqrt(20/3); truth 0, 2, 4 has sum of squares 8.

    Prediction is twice the truth, so r = 1, slope of truth on prediction 1/2, R2 = 1 - 20/8.
    """
    truth = np.array([0.0, 2.0, 4.0])
    found = plain(regression_metrics(truth, 2 * truth, one(3)))
    expected = {
        "mae": 2, "bias": 2, "rmse": (20 / 3) ** 0.5, "r2": -1.5, "pearson": 1,
        "calibration_slope": 0.5,
    }  # fmt: skip
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("ties", [False, True])
def test_binary_agrees_with_sklearn(ties: bool) -> None:
    positive = RNG.random(300) < 0.25
    score = np.clip(RNG.normal(0.4 + 0.15 * positive, 0.2), 0, 1)
    score = score.round(1) if ties else score
    said = score >= 0.5
    found = plain(binary_metrics(positive, score, one(300)))
    share = positive.mean()
    assert found == pytest.approx(
        {
            "auc": reference.roc_auc_score(positive, score),
            "average_precision": reference.average_precision_score(positive, score),
            "balanced_accuracy": reference.balanced_accuracy_score(positive, said),
            "sensitivity": reference.recall_score(positive, said),
            "specificity": reference.recall_score(~positive, ~said),
            "f1": reference.f1_score(positive, said),
            "f1_negative": reference.f1_score(~positive, ~said),
            "accuracy": reference.accuracy_score(positive, said),
            "prevalence": share,
            "all_positive_accuracy": reference.accuracy_score(positive, np.ones(300, bool)),
            "all_positive_f1": reference.f1_score(positive, np.ones(300, bool)),
            "all_negative_accuracy": 1 - share,
            "all_negative_f1": reference.f1_score(~positive, np.ones(300, bool)),
        },
        rel=1e-9,
    )


def test_the_published_baseline_is_the_one_of_the_paper() -> None:
    """With 77.6 % normal EF, calling all normal has F1 2 * .776 / 1.776 = .874."""
    positive = np.arange(1000) >= 776
    found = plain(binary_metrics(positive, np.zeros(1000), one(1000)))
    assert found["all_negative_accuracy"] == pytest.approx(0.776)
    assert found["all_negative_f1"] == pytest.approx(0.874, abs=5e-4)
    assert found["f1_negative"] == pytest.approx(found["all_negative_f1"])


def test_multiclass_agrees_with_sklearn() -> None:
    truth = RNG.integers(0, 5, 250)
    logits = RNG.normal(size=(250, 5)) + 1.5 * np.eye(5)[truth]
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    said = probability.argmax(axis=1)
    found = plain(multiclass_metrics(truth, probability, one(250), ordered=True))
    assert found == pytest.approx(
        {
            "macro_auc": reference.roc_auc_score(truth, probability, multi_class="ovr"),
            "macro_f1": reference.f1_score(truth, said, average="macro"),
            "accuracy": reference.accuracy_score(truth, said),
            "quadratic_kappa": reference.cohen_kappa_score(truth, said, weights="quadratic"),
        },
        rel=1e-9,
    )


def test_macro_auc_leaves_absent_classes_out() -> None:
    """Classes 0 and 2 only, ranked without fault by their columns: 1, whatever column 1 says."""
    truth = np.array([0, 0, 2, 2])
    probability = np.array([[0.8, 0.1, 0.1], [0.5, 0.4, 0.1], [0.1, 0.6, 0.3], [0.1, 0, 0.9]])
    found = plain(multiclass_metrics(truth, probability, one(4), ordered=False))
    assert found["macro_auc"] == 1
    assert "quadratic_kappa" not in found


counts = st.lists(st.integers(0, 3), min_size=12, max_size=12).filter(any)


@settings(max_examples=40, deadline=None)
@given(counts=counts, seed=st.integers(0, 10_000), task=st.sampled_from(list(Task)))
def test_a_weight_is_a_repetition(counts, seed, task) -> None:
    """Weighting case i by k equals writing it down k times: the whole idea of the fast bootstrap.

    Scores on a coarse grid, so that ties occur.
    """
    rng = np.random.default_rng(seed)
    truth, prediction = _random_cases(task, rng, 12)
    weights = np.array(counts, dtype=float)
    repeated = np.repeat(np.arange(12), counts)
    weighted = plain(task_metrics(task, truth, prediction, weights[None], 50))
    written = plain(
        task_metrics(task, truth[repeated], prediction[repeated], one(len(repeated)), 50)
    )
    assert weighted == pytest.approx(written, rel=1e-7, abs=1e-9, nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), cases=st.integers(1, 30), grid=st.integers(1, 8))
def test_auc_is_the_share_of_won_pairs(seed, cases, grid) -> None:
    """Against the definition: count pairs; NaN where there is none."""
    rng = np.random.default_rng(seed)
    positive, score = rng.random(cases) < 0.4, rng.integers(0, grid, cases).astype(float)
    gaps = np.subtract.outer(score[positive], score[~positive])
    wanted = ((gaps > 0) + 0.5 * (gaps == 0)).mean() if gaps.size else np.nan
    assert auc(positive, score, one(cases))[0] == pytest.approx(wanted, nan_ok=True)


def test_roc_curve_agrees_with_sklearn() -> None:
    positive = RNG.random(80) < 0.4
    score = RNG.integers(0, 12, 80) + 2.0 * positive
    wanted = reference.roc_curve(positive, score, drop_intermediate=False)
    for ours, theirs in zip(roc_curve(positive, score), wanted, strict=False):
        assert ours == pytest.approx(theirs)


@pytest.mark.filterwarnings("error")
def test_what_is_undefined_is_nan_and_silent() -> None:
    same = np.full(4, 0.1)
    found = plain(regression_metrics(same, np.arange(4.0), one(4)))
    assert np.isnan([found["r2"], found["pearson"]]).all()
    assert found["mae"] == pytest.approx(1.45)
    assert np.isnan(plain(regression_metrics(np.arange(4.0), same, one(4)))["calibration_slope"])
    found = plain(binary_metrics(np.zeros(4, bool), same, one(4)))
    assert np.isnan([found["auc"], found["average_precision"], found["sensitivity"]]).all()
    assert found["specificity"] == found["accuracy"] == 1
    found = plain(multiclass_metrics(np.full(3, 2), np.eye(3)[[2, 2, 2]], one(3), ordered=True))
    assert np.isnan([found["macro_auc"], found["quadratic_kappa"]]).all()
    assert found["accuracy"] == 1


@pytest.mark.parametrize("task", list(Task))
def test_a_prediction_that_is_not_a_number_has_no_score(task: Task) -> None:
    truth, prediction = _random_cases(task, np.random.default_rng(0), 12)
    prediction[3] = np.nan
    assert np.isnan(list(plain(task_metrics(task, truth, prediction, one(12), 50)).values())).all()


def test_the_predicted_ef_also_ranks_reduced_hearts() -> None:
    """Below 50: the first two. Predicted lowest and third lowest of four: 3 of 4 pairs won."""
    truth = np.array([30.0, 45.0, 55.0, 65.0])
    prediction = np.array([35.0, 52.0, 51.0, 60.0])
    assert plain(task_metrics(Task.EF, truth, prediction, one(4), 50))["reduced_auc"] == 0.75


def _random_cases(task, rng, cases):
    if task in (Task.AS_GRADE, Task.AS_CLASS, Task.VIEW):
        classes = 3 if task is Task.AS_CLASS else 5
        shape = (cases, classes)
        return rng.integers(0, classes, cases).astype(float), rng.integers(1, 5, shape) / 4
    if task is Task.REDUCED_EF:
        return rng.integers(0, 2, cases).astype(float), rng.integers(0, 5, cases) / 4
    return rng.integers(20, 80, cases).astype(float), rng.integers(20, 80, cases).astype(float)
