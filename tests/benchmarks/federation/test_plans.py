"""The recipe of the federation benchmark, and what of it reaches the studies."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmarks.federation.__main__ import main
from benchmarks.federation.figures import folds_of, shots_of
from benchmarks.federation.plans import Recipe, load_recipe
from benchmarks.federation.studies import with_exact_ef
from echofm_core.phantom.hospitals import HELD_OUT, HOSPITALS
from echofm_core.plan.protocol import ProtocolName
from simulations.study.variations import variations
from tests.benchmarks.federation.made import ef_rows, grade_rows


@pytest.fixture(params=[False, True], ids=["whole", "quick"])
def recipe(request: pytest.FixtureRequest, tmp_path: Path) -> Recipe:
    return load_recipe(tmp_path, quick=request.param)


def test_two_of_eight_hospitals_are_left_out_in_turn_and_all_others_train(recipe: Recipe) -> None:
    plan = recipe.left_out
    patients = plan.machine.phantoms.patients
    assert set(patients) == {one.name for one in HOSPITALS} | {"tmed2"}
    assert folds_of(recipe) == list(HELD_OUT)
    for variation in variations(plan):
        own = variation.of(plan)
        (unseen,) = own.protocol.unseen
        assert unseen in HELD_OUT
        assert own.federation.min_sites == len(set(patients) - {unseen})


def test_the_many_patients_are_all_that_a_hospital_left_out_trains_on(recipe: Recipe) -> None:
    """Who is not to test, of whom none validates."""
    plan, (few, every) = recipe.left_out, shots_of(recipe)
    assert few == 20
    assert plan.protocol.validation_fraction == 0
    for site in folds_of(recipe):
        count = plan.machine.phantoms.patients[site]
        assert every == count - round(plan.protocol.test_fraction * count)


def test_both_studies_read_the_same_clips_and_train_alike(recipe: Recipe) -> None:
    """But for the tasks: the dealt patients have no grade of stenosis."""
    plan, dealt = recipe.left_out, recipe.dealt
    assert dealt.data == plan.data and dealt.model == plan.model and dealt.seed == plan.seed
    assert dealt.machine == plan.machine
    assert dealt.finetune.model_dump(exclude={"tasks"}) == plan.finetune.model_dump(
        exclude={"tasks"}
    )
    assert dealt.protocol.name is ProtocolName.DIRICHLET and dealt.protocol.alpha == 0.1
    assert set(dealt.protocol.datasets) == {one.name for one in HOSPITALS}
    assert dealt.study.seeds == plan.study.seeds == len(recipe.seeds)


def test_fewer_seeds_are_the_first_ones(tmp_path: Path) -> None:
    every = load_recipe(tmp_path).seeds
    assert len(every) == 3
    assert load_recipe(tmp_path, seeds=2).seeds == every[:2]


def test_the_truth_of_an_ef_is_what_was_drawn_and_that_of_a_grade_stays() -> None:
    rows = pd.concat([ef_rows({"a": (1, 2)}, (50.0, 60.0)), grade_rows("t", (0, 1), (0.1, 0.9))])
    rows.iloc[1, rows.columns.get_loc("truth")] = float("nan")
    found = with_exact_ef(rows, pd.Series({"a-0": 47.5, "a-1": 61.5}))
    assert found["truth"].tolist()[:1] == [47.5]
    assert found["truth"].isna().tolist() == [False, True, False, False], "no label, no case"
    assert found["truth"].tolist()[2:] == [0, 1]
    with pytest.raises(RuntimeError, match="no exact EF of a-0"):
        with_exact_ef(rows, pd.Series({"a-1": 61.5}))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--quick", "--keep"], "these are of the whole"),
        (["--seeds", "2", "--kept"], "these are of the whole"),
        (["--seeds", "0"], "at least 1"),
    ],
)
def test_options_that_do_not_go_together(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert complaint in capsys.readouterr().err
