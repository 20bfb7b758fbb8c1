"""A site tests on its test patients, and on nobody else; its numbers can be checked by hand."""

from __future__ import annotations

from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from client.site import Site
from client.state import SiteState, validation_file
from client.testing import evaluate, small_classes
from echofm_core.contract import ENCODER, HEADS, STF_NET, Action, Instruction, SiteResult
from echofm_core.data.training_record import RECORD
from echofm_core.models.build import build_echo_model
from echofm_core.models.weights import to_arrays
from echofm_core.runtime.checksum import digest
from tests.federation.small import TEST, build_sites, small_plan

#: Enough for the folds of the floor.
TRAINED = 6
PLAN = small_plan()

Done = tuple[SiteResult, Path, Instruction]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The floor is asked for: six training patients are enough for its folds."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("testing")
    built = build_sites(folder, ("gamma",), train={"gamma": TRAINED})[0]
    manifest = pd.read_parquet(built.manifest)
    manifest["ef"] = np.where(manifest["split"] == "test", 61.0, 30.0) + np.arange(len(manifest))
    manifest.to_parquet(built.manifest, index=False)
    paths = {"manifest": str(built.manifest), "store": str(built.store)}
    site = Site.open({"site": "gamma", **paths, "device": "cpu"}, PLAN)
    question = Instruction(
        action=Action.EVALUATE,
        round=0,
        plan=PLAN.to_json(),
        plan_hash=PLAN.digest(),
        run="run",
        weights=to_arrays(build_echo_model(PLAN), [ENCODER, STF_NET, HEADS]),
        settings={"floor": 1.0},
    )
    state = SiteState(folder / "state", "run")
    return evaluate(site, PLAN, question, state), state.folder, question


def test_validation_patients_are_predicted_and_change_no_score(done: Done, tmp_path: Path) -> None:
    """Patient p5 moves from training to validation: the file has p5 alone, as the model reads it,
    and the model's scores are those of before."""
    before, folder, question = done
    built = folder.parent.parent / "gamma"
    manifest = pd.read_parquet(built / "manifest.parquet")
    manifest.loc[manifest["patient_id"] == "gamma-p5", "split"] = "val"
    manifest.to_parquet(tmp_path / "manifest.parquet", index=False)
    paths = {"manifest": str(tmp_path / "manifest.parquet"), "store": str(built / "stores")}
    site = Site.open({"site": "gamma", **paths, "device": "cpu"}, PLAN)
    asked = replace(question, settings={})
    result = evaluate(site, PLAN, asked, SiteState(tmp_path, "run"))
    rows = pd.read_parquet(tmp_path / "run" / validation_file())
    assert set(rows["patient_id"]) == {"gamma-p5"} and set(rows["task"]) >= {"ef", "reduced_ef"}
    assert np.isfinite(rows["prediction"]).all()
    model = {k: v for k, v in before.scores.items() if k in result.scores}
    assert model and all(
        np.array_equal(astuple(result.scores[k]), astuple(v), equal_nan=True)
        for k, v in model.items()
    )


def test_a_sites_own_model_predicts_its_validation_patients_too(done: Done, tmp_path: Path) -> None:
    """By whom a study chooses between settings of such a model. p5 is held out; the last step has
    moved the heads, so that the two models read p5 differently."""
    _, folder, question = done
    built = folder.parent.parent / "gamma"
    manifest = pd.read_parquet(built / "manifest.parquet")
    manifest.loc[manifest["patient_id"] == "gamma-p5", "split"] = "val"
    manifest.to_parquet(tmp_path / "manifest.parquet", index=False)
    plan = small_plan(personal={"last_steps": 2, "last_learning_rate": 0.01})
    paths = {"manifest": str(tmp_path / "manifest.parquet"), "store": str(built / "stores")}
    site = Site.open({"site": "gamma", **paths, "device": "cpu"}, plan)
    state = SiteState(tmp_path, "run")
    state.folder.mkdir(parents=True, exist_ok=True)
    (state.folder / RECORD).touch()  # it has trained
    evaluate(site, plan, replace(question, settings={}), state)
    sent, own = (
        pd.read_parquet(state.folder / validation_file(name)) for name in ("", "last_step")
    )
    assert set(own["patient_id"]) == set(sent["patient_id"]) == {"gamma-p5"}
    assert not np.array_equal(own["prediction"], sent["prediction"])


def test_private_training_sends_no_floor(done: Done) -> None:
    """It is fitted on the training patients without noise, outside of what epsilon counts."""
    _, folder, question = done
    built = folder.parent.parent / "gamma"
    plan = small_plan(privacy={"kind": "local", "noise_multiplier": 1.0})
    paths = {"manifest": str(built / "manifest.parquet"), "store": str(built / "stores")}
    site = Site.open({"site": "gamma", **paths, "device": "cpu"}, plan)
    result = evaluate(site, plan, question, SiteState(folder.parent, "private"))
    assert {name.partition("/")[0] for name in result.scores} == {"federated"}
    assert not (folder.parent / "private" / "predictions-no_network.parquet").exists()


def test_only_test_patients_are_scored(done: Done) -> None:
    """Training EFs are 30 to 35, those of testing 67 and 68: a swap moves every number.

    Nobody of the test has a reduced EF, everybody of the training has.
    """
    result, folder, _ = done
    rows = pd.read_parquet(folder / "predictions.parquet")
    ef = rows[rows["task"] == "ef"]
    assert sorted(ef["patient_id"]) == ["gamma-p6", "gamma-p7"]
    assert sorted(ef["truth"]) == [67.0, 68.0]
    assert result.patients == {"ef": TEST, "reduced_ef": TEST, "as_grade": TEST}
    mae = np.abs(ef["prediction"] - ef["truth"]).mean()
    assert result.scores["federated/ef/mae"].value == pytest.approx(mae, rel=1e-6)
    assert result.scores["federated/reduced_ef/prevalence"].value == 0.0


def test_the_floor_learns_from_training_patients_and_is_tested_on_the_others(done: Done) -> None:
    """From EFs of 30 to 35 a ridge cannot get far: 67 is some 30 points away."""
    result, folder, _ = done
    rows = pd.read_parquet(folder / "predictions-no_network.parquet")
    ef = rows[rows["task"] == "ef"]
    assert sorted(ef["truth"]) == [67.0, 68.0] and (ef["prediction"] < 60).all()
    floor, own = result.scores["no_network/ef/mae"], result.scores["federated/ef/mae"]
    assert floor.value == pytest.approx(np.abs(ef["prediction"] - ef["truth"]).mean(), rel=1e-6)
    difference = result.scores["federated_minus_no_network/ef/mae"]
    assert difference.value == pytest.approx(own.value - floor.value, abs=1e-9)


def test_intervals_are_over_the_patients_at_home(done: Done) -> None:
    """With two patients a resample is one of them twice or both: ends are the single errors."""
    result, folder, _ = done
    rows = pd.read_parquet(folder / "predictions.parquet")
    ef = rows[rows["task"] == "ef"]
    errors = sorted(np.abs(ef["prediction"] - ef["truth"]))
    mae = result.scores["federated/ef/mae"]
    assert (mae.low, mae.high) == pytest.approx(tuple(errors), rel=1e-6)


def test_it_says_what_was_tested(done: Done) -> None:
    result, _, question = done
    assert result.plan_hash == PLAN.digest() and result.digest == digest(question.weights)
    assert result.site == "gamma"


def test_a_score_that_rests_on_a_small_class_leaves_undefined(done: Done) -> None:
    """Two test patients, nobody of them with a reduced EF, and one with each of two grades."""
    usual, folder, question = done
    built = folder.parent.parent / "gamma"
    paths = {"manifest": str(built / "manifest.parquet"), "store": str(built / "stores")}
    config = {"site": "gamma", **paths, "device": "cpu"}
    site = Site.open(config, PLAN, min_patients=2)
    result = evaluate(site, PLAN, question, SiteState(folder.parent, "small"))
    assert result.patients == usual.patients and result.scores.keys() == usual.scores.keys()
    for name, score in result.scores.items():
        task, metric = name.split("/")[1:]
        if task == "ef" and metric != "reduced_auc":
            assert score.value == pytest.approx(usual.scores[name].value, nan_ok=True)
        else:
            assert np.isnan([score.value, score.low, score.high, score.p]).all(), name
    assert np.isfinite(usual.scores["federated/as_grade/accuracy"].value)
    assert np.isfinite(usual.scores["federated_minus_no_network/as_grade/accuracy"].value)


@pytest.mark.parametrize(
    ("reduced", "hidden"),
    [
        (5, {}),
        (4, {"ef": "reduced_auc", "reduced_ef": "*"}),
        (0, {"ef": "reduced_auc", "reduced_ef": "*"}),
        (17, {"ef": "reduced_auc", "reduced_ef": "*"}),
    ],
)
def test_patients_of_each_class_are_counted_and_not_their_clips(
    reduced: int, hidden: dict[str, str]
) -> None:
    """Twenty patients of two studies each, of whom so many have a reduced EF."""
    rows = [
        {
            "dataset": "own", "site": "alpha", "patient_id": f"p{n}", "study_id": f"p{n}-{study}",
            "clip_id": f"p{n}-{study}", "task": task, "prediction": 0.5,
            "truth": (40.0 if n < reduced else 60.0) if task == "ef" else float(n < reduced),
        }
        for n in range(20) for study in range(2) for task in ("ef", "reduced_ef")
    ]  # fmt: skip
    assert small_classes(pd.DataFrame(rows), 5, 50.0) == hidden
    assert small_classes(pd.DataFrame(rows), 1, 50.0) == {}
