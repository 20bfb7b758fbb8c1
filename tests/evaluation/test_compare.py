"""Differences on shared cases by hand; unequal tables; how often equal models are told apart."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from echofm_core.evaluation.bootstrap import draw_patients, paired_difference
from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.evaluation.paired import compare
from echofm_core.tasks import Task
from tests.evaluation.made import prediction_rows
from tests.evaluation.test_score import ef_rows, value

CONFIG = EvaluationConfig(bootstrap=200)


def compared(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    return compare(first, second, CONFIG, np.random.default_rng(0), 50.0)


def test_it_is_the_difference_on_the_shared_cases() -> None:
    """Second model: exact but for q at A (off by 8), and lacks B. First MAE at A 11/3, second 8/3;
    B is not compared, so that nothing is over sites."""
    second = ef_rows().assign(prediction=lambda rows: rows["truth"])
    second.loc[3, "prediction"] = 80.0
    found = compared(ef_rows(), second.iloc[:4])
    assert set(found["site"]) == {"A"}
    assert value(found, "A", "mae") == pytest.approx(11 / 3 - 8 / 3)
    assert value(found, "A", "mae", "patients") == 2


def test_a_model_does_not_differ_from_itself() -> None:
    rows = prediction_rows({"A": 15, "B": 15})
    found = compared(rows, rows)
    columns = found[["value", "low", "high"]].to_numpy()
    assert len(found) and (columns[np.isfinite(columns)] == 0).all()
    assert (found["p"].dropna() == 1).all()


def test_unequal_tables_are_compared_where_both_have_a_truth_in_whatever_order() -> None:
    """The second lacks five patients' rows and five others' truths, and is shuffled: what is left
    is the same as with both cut to the shared fifteen beforehand."""
    first = prediction_rows({"A": 25}, noise=4, seed=1)
    second = prediction_rows({"A": 25}, noise=9, seed=2)
    kept = [f"p{number}" for number in range(15)]
    second.loc[second["patient_id"].isin([f"p{n}" for n in range(15, 20)]), "truth"] = np.nan
    second = second[~second["patient_id"].isin([f"p{n}" for n in range(20, 25)])]
    found = compared(first, second.sample(frac=1, random_state=0))
    cut = compared(*(rows[rows["patient_id"].isin(kept)] for rows in (first, second)))
    pd.testing.assert_frame_equal(found, cut)
    assert set(found["patients"]) == {15}


def test_two_clips_of_one_name_at_two_sites_are_two_clips() -> None:
    rows = prediction_rows({"A": 12}, noise=4)
    both = pd.concat([rows, rows.assign(site="B", dataset="B")])
    found = compared(both, both)
    ef = found[found["task"] == "ef"]
    sites = ("A", "B", "mean of sites", "worst site")
    assert [value(ef, site, "mae", "patients") for site in sites] == [12, 12, 24, 24]


def test_mean_and_worst_site_are_those_of_the_sites() -> None:
    """Both models' MAE at each site by hand; the mean of the differences and the difference of the
    larger ones. C has nine patients and counts in neither."""
    sites = {"A": 30, "B": 20, "C": 9}
    tables = [prediction_rows(sites, (Task.EF,), noise=noise, seed=noise) for noise in (4, 9)]
    errors = [
        (rows["prediction"] - rows["truth"]).abs().groupby(rows["site"]).mean() for rows in tables
    ]
    found, (first, second) = compared(*tables), (error[["A", "B"]] for error in errors)
    mean, worst = (value(found, site, "mae") for site in ("mean of sites", "worst site"))
    assert mean == pytest.approx((first - second).mean())
    assert worst == pytest.approx(first.max() - second.max())
    assert value(found, "worst site", "mae", "patients") == 50


def test_models_that_disagree_about_the_truth_are_not_compared() -> None:
    rows = prediction_rows({"A": 12})
    with pytest.raises(ValueError, match="disagree about the true ef"):
        compared(rows, rows.assign(truth=rows["truth"] + (rows["task"] == "ef")))


def test_interval_and_p_are_students_on_the_spread_of_the_draws() -> None:
    """A mean of 20 patients' numbers: the same draws by hand, then scipy's own t."""
    numbers = np.random.default_rng(3).normal(0.5, 1, 20)
    patients = np.arange(20)

    def mean(weights):
        return {"mean": weights @ numbers / weights.sum(axis=1)}

    def nothing(weights):
        return {"mean": np.zeros(len(weights))}

    found = paired_difference(mean, nothing, patients, CONFIG, np.random.default_rng(1))["mean"]
    drawn = draw_patients(20, 200, np.random.default_rng(1)) @ numbers / 20
    student = stats.t(19, loc=0, scale=drawn.std(ddof=1) * (20 / 19) ** 0.5)
    assert found.value == pytest.approx(numbers.mean())
    assert found.high - found.value == pytest.approx(student.ppf(0.975))
    assert found.p == pytest.approx(2 * student.sf(abs(numbers.mean())))
    assert (found.p < 0.05) == (found.low > 0 or found.high < 0)


def test_equal_models_are_seldom_told_apart() -> None:
    """Twelve patients, two models with errors of one law, 400 times: p below 0.005 in at most 8,
    which chance exceeds once in fifty thousand (binomial of 400 and 0.005). Percentiles of the
    same draws do so in 2 of a hundred."""
    rng, low = np.random.default_rng(5), 0
    for _ in range(400):
        errors = np.abs(rng.standard_t(4, (2, 12)))

        def mae(weights, error):
            return {"mae": weights @ error / weights.sum(axis=1)}

        found = paired_difference(
            lambda weights, one=errors[0]: mae(weights, one),
            lambda weights, other=errors[1]: mae(weights, other),
            np.arange(12),
            CONFIG,
            rng,
        )["mae"]
        low += found.p < 0.005
    assert low <= 8
