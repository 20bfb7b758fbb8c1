"""The federation benchmark's arms and arithmetic; what they reach takes an hour and is kept."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from benchmarks.federation_arms import SEEDS, all_arms, chosen, pretraining, recipe, rivals
from benchmarks.federation_table import (
    KEPT,
    MEASURES,
    NAME,
    Figures,
    Measure,
    difference,
    kept,
    measured_scores,
    rows_of,
    table_of,
)
from benchmarks.federation_work import FLOOR
from echofm_core.plan.federation import TrunkWeights
from echofm_core.tasks import Task

EF = Measure(title="EF R2", site="here", task=Task.EF, metric="r2")


def predictions(values: Sequence[float]) -> pd.DataFrame:
    """EF of patients whose truth is 40, 50 and 60."""
    return pd.DataFrame(
        {
            "dataset": "d", "site": "here", "task": "ef",
            "patient_id": ["a", "b", "c"], "study_id": ["a", "b", "c"], "clip_id": ["a", "b", "c"],
            "truth": [40.0, 50.0, 60.0], "prediction": values,
        }
    )  # fmt: skip


def test_arms_differ_in_work_and_weights_alone() -> None:
    """Each seed has both kinds of work with all weights, the site alone with both, and one more."""
    arms = all_arms((7,))
    assert len(arms) == 2 + 2 * len(TrunkWeights) + 1
    for arm in arms:
        plan = arm.plan()
        assert plan.seed == 7
        assert plan.finetune.local_steps == arm.steps
        assert plan.finetune.local_epochs == 1
        assert plan.pretrain.rounds == (pretraining(7).pretrain.rounds if arm.alone else 0)
        assert plan.finetune.rounds == (arm.rounds or recipe().finetune.rounds)
        same = {"local_steps", "local_epochs", "rounds"}
        assert plan.finetune.model_dump(exclude=same) == pretraining(7).finetune.model_dump(
            exclude=same
        )
    names = [arm.name for arm in arms]
    assert len(set(names)) == len(names)
    assert chosen(7).name in names and set(rivals()) <= set(names)


def test_a_difference_is_the_mean_over_seeds_by_hand() -> None:
    """Squared errors over 200: ours 0 and 0, so R2 1 and 1; theirs 2 * 25 and 2 * 100, so R2 0.75
    and 0. Mean difference: (0.25 + 1) / 2.
    """
    ours = [predictions([40, 50, 60]), predictions([40, 50, 60])]
    theirs = [predictions([45, 50, 55]), predictions([50, 50, 50])]
    value, low, high = difference(EF, ours, theirs)
    assert value == pytest.approx(0.625)
    assert low <= value <= high


def test_a_model_less_itself_is_zero_with_no_width() -> None:
    ours = [predictions([41, 52, 57])]
    assert difference(EF, ours, ours) == (0.0, 0.0, 0.0)


def test_an_arm_without_a_measure_has_no_score() -> None:
    scores = measured_scores({("x", 7): predictions([45, 50, 55])}, [EF])
    assert scores == [("x", 7, "EF R2", pytest.approx(0.75))]
    elsewhere = predictions([45, 50, 55]).assign(site="there")
    assert measured_scores({("x", 7): elsewhere}, [EF]) == []


def test_an_arm_that_is_better_by_its_whole_interval_misses_the_bar() -> None:
    """Both ends below zero: the chosen arm is worse. The bar is on the arms that it is held to."""
    alone, shipped = rivals()
    auc, edv = MEASURES[0].title, MEASURES[-1].title
    differences = pd.DataFrame(
        [
            (alone, auc, 3, -0.2, -0.3, -0.1),
            (shipped, auc, 3, -0.1, -0.2, 0.1),
            ("x", auc, 3, -1, -2, -1),
            (FLOOR, edv, 3, 0.5, -0.1, 1.1),
            (shipped, edv, 3, 0.5, 0.1, 0.9),
        ],
        columns=["rival", "measure", "seeds", "value", "low", "high"],
    )
    scores = pd.DataFrame(columns=["arm", "seed", "measure", "value"])
    rows = rows_of(Figures(context={}, scores=scores, differences=differences))
    assert [row.holds for row in rows[:6]] == [None, False, None, True, None, None]
    assert [row.holds for row in rows[6:]] == [None, True, None, False], "an error: lower is better"


def test_what_is_kept_is_judged_as_it_was_when_it_was_made() -> None:
    """The chosen arm and the site alone with every seed; and each bar as it was written, missed
    ones too.
    """
    figures = kept()
    found = set(map(tuple, figures.scores[["arm", "seed"]].to_numpy().tolist()))
    assert {(name, seed) for name in (chosen(7).name, rivals()[0]) for seed in SEEDS} <= found
    floor = {(FLOOR, seed) for seed in SEEDS}
    assert floor <= found <= floor | {(arm.name, arm.seed) for arm in all_arms()}
    assert np.isfinite(figures.differences[["value", "low", "high"]].to_numpy()).all()
    written = json.loads((KEPT / f"{NAME}.json").read_text(encoding="utf-8"))["bars"]
    judged = [row.as_json() for row in rows_of(figures)]
    assert [bar["holds"] for bar in written] == [bar["holds"] for bar in judged]
    assert table_of(figures) in (KEPT / f"{NAME}.md").read_text(encoding="utf-8")
