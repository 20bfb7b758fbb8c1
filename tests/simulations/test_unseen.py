"""Real small runs on synthetic hospitals of which one is never seen, and one without pre-training.

What a site that is never seen holds must not change a bit of any model: it is written twice, with
other patients, pixels, labels and numbers of them, and the weights are compared.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_mapping
from echofm_core.report.run_files import read_run
from echofm_core.report.words import words_of
from echofm_core.runtime.array_files import load
from echofm_core.runtime.checksum import digest
from simulations.experiment import run_experiment
from tests.pages.html import words_of as visible
from tests.support.phantoms import Phantoms

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TRAINED, UNSEEN = ("harbour", "northfield"), "valley"
MODELS = ("federated", "no_pretraining", "pooled", "local:harbour", "local:northfield")


def plan_for(data: Path, **tables: dict[str, object]) -> Plan:
    values: dict[str, object] = {
        "name": "unseen",
        "seed": 3,
        "data": {"size": 32, "frames": 4, "test_windows": 1},
        "model": {"patch": 16},
        "protocol": {"unseen": [UNSEEN]},
        "pretrain": {"rounds": 1, "batch_size": 8},
        "finetune": {"rounds": 1, "local_steps": 2, "batch_size": 4, "tasks": ["ef"]},
        "federation": {"min_sites": 2},
        "evaluation": {
            "bootstrap": 100,
            "baselines": ["local", "pooled", "leave_one_out", "no_pretraining"],
        },
        "machine": {"roots": [str(data)], "device": "cpu"},
    }
    return plan_from_mapping({**values, **tables}, "of a test")


def weights(run: Path) -> dict[str, str]:
    """Digest of each model."""
    folders = {path.name: path for path in (run / "baselines").iterdir()}
    return {
        name: digest(load(path / "model" / "model.safetensors"))
        for name, path in {"federated": run, **folders}.items()
    }


@pytest.fixture(scope="module")
def data(phantoms: Phantoms, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hospitals to train on and one that is never seen, 12 patients each."""
    folder = tmp_path_factory.mktemp("hospitals") / "data"
    phantoms.hospitals(folder, dict.fromkeys((*TRAINED, UNSEEN), 12), seed=5)
    return folder


@pytest.fixture(scope="module")
def run(data: Path) -> Path:
    run = data.with_name("run")
    run_experiment(plan_for(data), run)
    return run


def test_every_model_but_leave_one_out_is_tested_on_all_patients_there(run: Path) -> None:
    """Twelve patients, one cine each; the floor is fitted on the other sites."""
    for name in (*MODELS, "no_network"):
        rows = pd.read_parquet(run / "predictions" / f"{name.replace(':', '-')}.parquet")
        there = rows[rows["site"] == UNSEEN]
        assert len(there) == there["patient_id"].nunique() == 12, name
        assert set(rows["site"]) == {*TRAINED, UNSEEN}, name
    left = pd.read_parquet(run / "predictions" / "without-harbour.parquet")
    assert set(left["site"]) == {"harbour"}


def test_no_model_has_it_among_its_sites_or_its_clips(run: Path) -> None:
    sites = pd.read_parquet(run / "sites.parquet")
    counts = sites[sites["split"] == "train"].set_index("site")["clips"]
    assert UNSEEN not in counts.index
    held = {name: set(pd.read_parquet(run / f"manifests/{name}.parquet")["site"])
            for name in ("all", "_pooled")}  # fmt: skip
    assert held == {"all": {*TRAINED, UNSEEN}, "_pooled": set(TRAINED)}
    for folder in (run, *(run / "baselines").iterdir()):
        for entry in (folder / "journal").glob("*.json"):
            assert UNSEEN not in json.loads(entry.read_text())["sites"]
    (pooled,) = json.loads((run / "baselines/pooled/journal/pretrain-0001.json").read_text())[
        "sites"
    ].values()
    assert pooled["counts"]["encoder"] == counts.sum()


def test_the_report_marks_it_and_compares_there(run: Path) -> None:
    files = read_run(run)
    (sentence,) = [line for line in words_of(files).verdict if "where no model trained" in line]
    assert sentence.startswith(
        "EF MAE (points), lower is better, where no model trained: federated"
    )
    assert " at valley (n 12), the one site to judge by;" in sentence
    for rival in ("the best single site", "pooled data", "no pre-training", "no network (ridge)"):
        assert f"against {rival} " in sentence
    page = visible((run / "report.html").read_text())
    assert "valley (never seen)" in page and sentence.split(";")[0] in page
    assert "Where no model trained, valley, all patients are test patients" in page
    assert "valley is never seen: no model trains on a clip" in page
    card = (run / "model" / "README.md").read_text()
    assert sentence in card and "valley is never seen" in card


def test_what_it_holds_changes_no_bit_of_any_model(
    phantoms: Phantoms, run: Path, data: Path, tmp_path: Path
) -> None:
    """Other patients, of another number: all but its own scores stays as it was."""
    other = tmp_path / "data"
    shutil.copytree(data, other)
    for path in other.glob(f"{UNSEEN}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    phantoms.hospitals(other, {UNSEEN: 10}, seed=6)
    run_experiment(plan_for(other), tmp_path / "run")
    assert weights(tmp_path / "run") == weights(run)
    keys = ["model", "site", "task", "metric"]
    before, after = (
        pd.read_parquet(folder / "scores.parquet").set_index(keys).sort_index()
        for folder in (run, tmp_path / "run")
    )
    elsewhere = before.index.get_level_values("site") != UNSEEN
    assert elsewhere.sum() and not elsewhere.all()
    same = after[after.index.get_level_values("site") != UNSEEN]
    pd.testing.assert_frame_equal(before[elsewhere], same)


def test_a_finished_run_gone_on_with_ends_alike(run: Path, data: Path) -> None:
    """The report and one baseline are lost; resumed, both are there again."""
    before, scores = weights(run), (run / "scores.parquet").read_bytes()
    shutil.rmtree(run / "baselines" / "pooled")
    (run / "scores.parquet").unlink()
    run_experiment(plan_for(data), run, resume=True)
    assert weights(run) == before and (run / "scores.parquet").read_bytes() == scores


def test_without_pre_training_is_the_federation_of_a_plan_without_it(
    run: Path, data: Path, tmp_path: Path
) -> None:
    """The same bits as a run whose plan has no round of it."""
    plan = plan_for(data, pretrain={"rounds": 0}, evaluation={"bootstrap": 100, "baselines": []})
    run_experiment(plan, tmp_path / "run")
    own = digest(load(tmp_path / "run/model/model.safetensors"))
    assert own == weights(run)["no_pretraining"] != weights(run)["federated"]
