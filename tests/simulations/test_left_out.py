"""Nothing that a left-out hospital holds reaches the federation without it: real small runs.

One hospital is written anew, with other patients, pixels, labels and numbers of them. Whatever
could carry a statistic from there is switched on: rounds chosen and ended by validation, balanced
classes, every task, a share of labels.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from echofm_core.contract import Weights
from echofm_core.data.manifest import load_manifest
from echofm_core.data.splits import split_digest
from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_mapping
from echofm_core.report.run_files import read_run
from echofm_core.runtime.array_files import load
from echofm_core.runtime.checksum import digest
from simulations.arm_training import Training
from simulations.experiment import run_experiment
from simulations.few_shot import FewShot, train_shots
from tests.support.phantoms import Phantoms

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

OTHERS, LEFT_OUT = ("harbour", "northfield"), "valley"


def plan_for(data: Path, **protocol: object) -> Plan:
    values: dict[str, object] = {
        "name": "left-out",
        "seed": 3,
        "data": {"size": 32, "frames": 4, "test_windows": 1},
        "model": {"patch": 16},
        "protocol": {"validation_fraction": 0.2, **protocol},
        "pretrain": {"rounds": 2, "batch_size": 8, "patience": 1},
        "finetune": {
            "rounds": 2,
            "local_steps": 2,
            "batch_size": 4,
            "tasks": ["ef", "esv", "edv", "reduced_ef"],
            "class_weights": "balanced",
            "label_fraction": 0.8,
            "patience": 1,
        },
        "federation": {"min_sites": 2, "select": "best"},
        "evaluation": {"bootstrap": 100, "baselines": ["leave_one_out"]},
        "machine": {"roots": [str(data)], "device": "cpu"},
    }
    return plan_from_mapping(values, "of a test")


def left_out_weights(run: Path) -> str:
    return digest(load(run / "baselines" / f"without-{LEFT_OUT}" / "model" / "model.safetensors"))


def other_valley(phantoms: Phantoms, data: Path, folder: Path) -> Path:
    """The data with another hospital of the left-out one's name: 10 patients in place of 12."""
    other = folder / "data"
    shutil.copytree(data, other)
    for path in other.glob(f"{LEFT_OUT}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    phantoms.hospitals(other, {LEFT_OUT: 10}, seed=6)
    return other


@pytest.fixture(scope="module")
def data(phantoms: Phantoms, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hospitals") / "data"
    phantoms.hospitals(folder, dict.fromkeys((*OTHERS, LEFT_OUT), 12), seed=5)
    return folder


@pytest.fixture(scope="module")
def run(data: Path) -> Path:
    run = data.with_name("run")
    run_experiment(plan_for(data), run)
    return run


def test_the_run_keeps_the_hash_of_its_split(run: Path) -> None:
    """As of the manifests of its sites, of which every model of the run has its clips."""
    sites = [load_manifest(run / "manifests" / f"{name}.parquet") for name in (*OTHERS, LEFT_OUT)]
    assert read_run(run).summary["split_sha256"] == split_digest(pd.concat(sites))


@dataclass(frozen=True)
class Few:
    """A run on other data of the left-out hospital, a few patients of which fine-tune.

    Attributes:
        begun: Site -> digest of the weights that its few patients are given.
    """

    run: Path
    begun: Mapping[str, str]


@pytest.fixture(scope="module")
def few(phantoms: Phantoms, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Few:
    folder = tmp_path_factory.mktemp("few")
    begun: dict[str, str] = {}

    def spy(training: Training, few: FewShot, weights: Weights, *rest: Any) -> None:
        begun[few.site] = digest(weights)
        train_shots(training, few, weights, *rest)

    plan = plan_for(other_valley(phantoms, data, folder))
    shots = {**plan.evaluation.model_dump(), "few_shot": [0, 2, 4, 99], "few_shot_rounds": 1}
    plan = plan.model_copy(update={"evaluation": EvaluationConfig.model_validate(shots)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("simulations.experiment.train_shots", spy)
        run_experiment(plan, folder / "run")
    return Few(folder / "run", begun)


def test_other_data_there_change_no_bit_of_the_model_without_it(run: Path, few: Few) -> None:
    """Nor do a few patients of it. The federated model, which trains there, does change."""
    assert left_out_weights(few.run) == left_out_weights(run)
    federated = [digest(load(path / "model/model.safetensors")) for path in (run, few.run)]
    assert federated[0] != federated[1]


def test_a_few_patients_of_it_fine_tune_the_model_without_it(few: Few) -> None:
    """The curve begins with the scores of the model as it is."""
    run = few.run
    assert few.begun[LEFT_OUT] == left_out_weights(run)
    table = pd.read_parquet(run / "few_shot.parquet")
    assert {site: sorted(set(rows["shots"])) for site, rows in table.groupby("site")} == {
        site: [0, 2, 4] for site in (*OTHERS, LEFT_OUT)
    }
    files = read_run(run)
    assert sum("no model is fine-tuned there on 99" in note for note in files.summary["notes"]) == 3
    keys = ["task", "metric", "value", "low", "high", "patients"]
    as_it_is = table[(table["site"] == LEFT_OUT) & (table["shots"] == 0)][keys]
    scores = files.scores
    usual = scores[(scores["model"] == "leave_one_out") & (scores["site"] == LEFT_OUT)][keys]
    pd.testing.assert_frame_equal(as_it_is.reset_index(drop=True), usual.reset_index(drop=True))
    predictions = run / "few_shot" / f"{LEFT_OUT}-4" / "predictions.parquet"
    tested = set(pd.read_parquet(predictions)["patient_id"])
    split = load_manifest(run / "manifests" / f"{LEFT_OUT}.parquet")
    assert tested == set(split.loc[split["split"] == "test", "patient_id"])
    given = [
        load_manifest(run / "manifests" / f"_shots-{LEFT_OUT}-{count}.parquet") for count in (2, 4)
    ]
    people = [set(rows["patient_id"]) for rows in given]
    assert [len(names) for names in people] == [2, 4] and people[0] < people[1]
    assert not people[1] & tested and all(set(rows["split"]) == {"train"} for rows in given)
    assert "A few patients of a site" in (run / "report.html").read_text()


def test_its_clips_without_labels_pre_train_where_the_plan_lets_them_in(
    run: Path, data: Path, tmp_path: Path
) -> None:
    """Then the model without it is another one, and every note says so; it knows no label of it."""
    run_experiment(plan_for(data, unlabelled_target=True), tmp_path / "run")
    assert left_out_weights(tmp_path / "run") != left_out_weights(run)
    journal = tmp_path / "run" / "baselines" / f"without-{LEFT_OUT}" / "journal"
    took_part = {
        phase: {site for file in journal.glob(f"{phase}-*.json")
                for site in json.loads(file.read_text())["sites"]}
        for phase in ("pretrain", "finetune")
    }  # fmt: skip
    assert took_part == {"pretrain": {*OTHERS, LEFT_OUT}, "finetune": set(OTHERS)}
    lent = load_manifest(tmp_path / "run" / "manifests" / f"_unlabelled-{LEFT_OUT}.parquet")
    assert lent[["ef", "edv", "esv", "as_grade", "view"]].isna().all(axis=None)
    assert set(lent["split"]) == {"train"}
    validated = pd.read_parquet(tmp_path / "run" / "validation" / f"without-{LEFT_OUT}.parquet")
    assert set(validated["site"]) <= set(OTHERS), "its labels widen no interval"
    notes = read_run(tmp_path / "run").summary["notes"]
    assert any(note.startswith("protocol.unlabelled_target is true") for note in notes)
