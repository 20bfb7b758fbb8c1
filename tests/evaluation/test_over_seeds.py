"""Means over seeds: by hand, and against one seed's scores, which an older module computes."""

import numpy as np
import pandas as pd
import pytest

from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.evaluation.over_seeds import paired_over_seeds, score_over_seeds
from echofm_core.evaluation.paired import PAIRED_COLUMNS, paired_table
from echofm_core.evaluation.score import COLUMNS, score
from echofm_core.runtime.randomness import stream
from tests.evaluation.made import prediction_rows

CONFIG = EvaluationConfig(bootstrap=200, min_patients=10)


def rng() -> np.random.Generator:
    return stream(7, "", 0, "bootstrap")


def mae(scores: pd.DataFrame, site: str = "A") -> pd.Series:
    rows = scores[(scores["task"] == "ef") & (scores["metric"] == "mae") & (scores["site"] == site)]
    return rows.iloc[0]


def test_of_one_seed_it_is_that_seeds_score_without_spread() -> None:
    rows = prediction_rows({"A": 30, "B": 20})
    found, one = score_over_seeds([rows], CONFIG, rng(), 50.0), score(rows, CONFIG, rng(), 50.0)
    pd.testing.assert_frame_equal(found[list(COLUMNS)], one[list(COLUMNS)])
    assert found["spread"].isna().all() and (found["seeds"] == 1).all()


def test_value_and_spread_are_mean_and_deviation_of_the_seeds() -> None:
    """Errors shifted by 0, 3 and 9 points: every seed's MAE is known, and so is their SD."""
    rows = prediction_rows({"A": 30}, noise=0.0)
    seeds = [rows.assign(prediction=rows["truth"] + shift) for shift in (0.0, 3.0, 9.0)]
    seeds = [seed[seed["task"] == "ef"] for seed in seeds]
    found = mae(score_over_seeds(seeds, CONFIG, rng(), 50.0))
    assert found["value"] == pytest.approx(4.0)
    assert found["spread"] == pytest.approx(np.std([0, 3, 9], ddof=1))
    # Every patient has the same error, so that no resample differs: seeds add nothing to it.
    assert (found["low"], found["high"]) == (pytest.approx(4.0), pytest.approx(4.0))


def test_the_interval_is_that_of_the_mean_on_the_same_drawn_patients() -> None:
    """By a slow direct form: the MAE is linear in the cases, so that the mean over seeds of MAEs is
    the MAE of errors averaged over seeds."""
    seeds = [prediction_rows({"A": 40}, seed=number, noise=8.0) for number in range(3)]
    seeds = [seed[seed["task"] == "ef"] for seed in seeds]
    errors = np.mean([(seed["prediction"] - seed["truth"]).abs() for seed in seeds], axis=0)
    single = seeds[0].assign(prediction=seeds[0]["truth"] + errors)
    found, expected = (
        mae(table)
        for table in (
            score_over_seeds(seeds, CONFIG, rng(), 50.0),
            score(single, CONFIG, rng(), 50.0),
        )
    )
    for name in ("value", "low", "high"):
        assert found[name] == pytest.approx(expected[name])


def test_seeds_of_other_patients_have_no_interval() -> None:
    seeds = [prediction_rows({"A": count}) for count in (20, 25)]
    found = mae(score_over_seeds(seeds, CONFIG, rng(), 50.0))
    assert np.isnan(found["low"]) and found["spread"] > 0 and found["patients"] == 20


def test_comparisons_of_one_seed_are_those_of_its_run() -> None:
    models = {
        "federated": prediction_rows({"A": 30, "B": 20}, noise=3),
        "fedprox": prediction_rows({"A": 30, "B": 20}, noise=9, seed=1),
        "no_network": prediction_rows({"A": 30, "B": 20}, noise=12, seed=2),
    }
    found = paired_over_seeds({name: [rows] for name, rows in models.items()}, CONFIG, 7, 50.0)
    expected = paired_table(models, CONFIG, 7, 50.0)
    pd.testing.assert_frame_equal(found[list(PAIRED_COLUMNS)], expected[list(PAIRED_COLUMNS)])


def test_a_difference_is_that_of_the_means_over_seeds() -> None:
    """First model 1 and 3 points off, the second 5 and 9: 2 - 7 = -5."""
    rows = prediction_rows({"A": 30}, noise=0.0)
    rows = rows[rows["task"] == "ef"]
    first, second = (
        [rows.assign(prediction=rows["truth"] + shift) for shift in shifts]
        for shifts in ((1.0, 3.0), (5.0, 9.0))
    )
    found = paired_over_seeds({"federated": first, "fedprox": second}, CONFIG, 7, 50.0)
    assert found.loc[found["metric"] == "mae", "value"].tolist() == [pytest.approx(-5.0)]


def test_models_whose_seeds_have_other_patients_are_compared_on_those_of_all() -> None:
    """25 of 30 patients are in every table: the first of each site are the same people."""
    few, many = prediction_rows({"A": 25}), prediction_rows({"A": 30}, seed=1)
    found = paired_over_seeds({"federated": [few, many], "fedprox": [many, many]}, CONFIG, 7, 50.0)
    assert set(found["patients"]) == {25}
