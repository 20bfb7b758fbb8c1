"""What a change costs, from made-up predictions whose errors are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.evaluation.score import score
from echofm_core.evaluation.stress.stressors import STRESSORS, UNCHANGED, Setting
from echofm_core.evaluation.stress.table import stress_table
from echofm_core.runtime.randomness import stream
from echofm_core.tasks import Task
from tests.evaluation.made import prediction_rows

CONFIG = EvaluationConfig(bootstrap=100)
DEEP = Setting(STRESSORS[0], 1.5)
SITES = {"A": 30, "B": 20, "few": 4, "new": 15}


@pytest.fixture(scope="module")
def clean() -> pd.DataFrame:
    return prediction_rows(SITES)


def stressed(clean: pd.DataFrame, changed: pd.DataFrame) -> pd.DataFrame:
    found = stress_table({UNCHANGED: clean, DEEP: changed}, CONFIG, 3, 50.0, ("new",))
    return found.set_index(["change", "site", "task", "metric"])


def test_the_clips_as_they_are_have_the_values_of_the_ordinary_scores(clean: pd.DataFrame) -> None:
    """Bit for bit, each site and metric; their loss is 0, without an interval."""
    found = stressed(clean, clean).loc["clean"]
    scores = score(clean, CONFIG, stream(3, "", 0, "bootstrap"), 50.0, ("new",))
    expected = scores.set_index(["site", "task", "metric"])["value"]
    single = [key for key in found.index if key[0] in SITES]
    assert len(single) == 4 * (3 + 1), "EF has three reported metrics, reduced EF one"
    assert (found.loc[single, "value"] == expected[single]).all()
    assert (found["loss"] == 0).all()
    assert found[["low", "high"]].isna().all(axis=None)


def test_five_points_more_error_are_a_loss_of_five_where_lower_is_better(
    clean: pd.DataFrame,
) -> None:
    """Every error of site B is made five points larger: its mean absolute error grows by 5, that of
    A by nothing. Their mean grows by 2.5. The site with 4 patients counts in neither."""
    error = clean["prediction"] - clean["truth"]
    worse = (clean["site"] == "B") & (clean["task"] == "ef")
    changed = clean.assign(
        prediction=clean["prediction"].mask(
            worse, clean["prediction"] + 5 * np.where(error >= 0, 1, -1)
        )
    )
    found = stressed(clean, changed)
    mae = found.xs(("depth", "ef", "mae"), level=("change", "task", "metric"))
    assert mae.loc["B", "loss"] == pytest.approx(5)
    assert mae.loc["B", "value"] == pytest.approx(mae.loc["B", "clean"] + 5)
    assert mae.loc["B", ["low", "high"]].tolist() == pytest.approx([5, 5]), "of every patient 5"
    assert mae.loc["A", "loss"] == 0
    assert mae.loc["mean of sites", "loss"] == pytest.approx(2.5)
    assert mae.loc["mean of sites", "value"] == pytest.approx(mae.loc[["A", "B"], "value"].mean())
    assert mae.loc["worst site", "worst"] == "B"
    assert mae.loc["worst site", "value"] == mae.loc["B", "value"]
    assert mae.loc["worst site", "clean"] == mae.loc[["A", "B"], "clean"].max()
    assert "mean never seen" not in mae.index, "one site is no mean"
    assert mae.loc["new", "never_seen"]
    assert not mae.loc["worst site", "never_seen"]


def test_what_falls_is_a_loss_where_higher_is_better(clean: pd.DataFrame) -> None:
    """An AUC of x on probabilities is 1 - x on their complements: it loses 2 x - 1. Its interval
    is turned with it: the lower end is below the loss."""
    reduced = clean["task"] == Task.REDUCED_EF.value
    changed = clean.assign(prediction=clean["prediction"].mask(reduced, 1 - clean["prediction"]))
    row = stressed(clean, changed).loc[("depth", "A", "reduced_ef", "auc")]
    assert row["value"] == pytest.approx(1 - row["clean"])
    assert row["loss"] == pytest.approx(2 * row["clean"] - 1)
    assert row["low"] < row["loss"] < row["high"]
