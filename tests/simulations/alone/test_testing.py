"""What is tested at one institution: its model, and the floor beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from client.site import Site
from echofm_core.contract import Phase
from echofm_core.data.manifest import load_manifest
from echofm_core.data.store.clip_store import open_stores
from echofm_core.evaluation.floor import floor_predictions
from echofm_core.inference.evaluate import test_model as scored
from echofm_core.models.saved import load_model
from echofm_core.plan.document import Plan
from echofm_core.plan.load import load_plan
from simulations.alone import train_alone


@pytest.fixture
def plan(home: Path) -> Plan:
    plan = load_plan(home / "plan.toml")
    return plan.model_copy(update={"finetune": plan.finetune.model_copy(update={"rounds": 1})})


def test_the_floor_stands_beside_the_model_fitted_on_its_training_patients_alone(
    home: Path, plan: Plan
) -> None:
    """Ten patients train and six test. All have an EDV of 100 ml: there is nothing to fit."""
    run = home / "run"
    scores = train_alone(plan, Phase.FINETUNE, run).scores
    tasks = scores.groupby("model")["task"].agg(set).to_dict()
    assert tasks == {"alone": {"ef", "edv", "reduced_ef"}, "no_network": {"ef", "reduced_ef"}}
    pd.testing.assert_frame_equal(pd.read_parquet(run / "scores.parquet"), scores)

    rows = load_manifest(run / "manifests/institution.parquet")
    store = open_stores(home / "cache/stores")
    tables = {"data": plan.data, "finetune": plan.finetune, "seed": plan.seed}
    site = Site(name="institution", manifest=rows, store=store, **tables)
    learn, asked = site.train_clips(Phase.FINETUNE), site.test_clips()
    expected = floor_predictions(learn, asked, plan.finetune, seed=plan.seed, site="institution")
    kept = pd.read_parquet(run / "predictions/no_network.parquet")
    for task in ("ef", "reduced_ef"):
        ours, theirs = (rows[rows["task"] == task] for rows in (kept, expected))
        assert ours["clip_id"].tolist() == theirs["clip_id"].tolist()
        np.testing.assert_array_equal(ours["prediction"], theirs["prediction"])
    ef = kept[kept["task"] == "ef"]
    error = float((ef["prediction"] - ef["truth"]).abs().mean())
    found = scores.query("model == 'no_network' and task == 'ef' and metric == 'mae'")
    assert found["value"].iloc[0] == pytest.approx(error)
    own = scores.query("model == 'alone' and task == 'ef' and metric == 'mae'")["value"].iloc[0]
    card = (run / "model/README.md").read_text()
    assert f"{own:.2f}" in card or f"{own:.1f}" in card

    alone = scored(load_model(run), asked, home / "elsewhere")
    assert set(alone["model"]) == {"model"}
    theirs = alone.query("task == 'ef' and metric == 'mae'")["value"].iloc[0]
    assert theirs == pytest.approx(own, rel=1e-5), "what the site measured, the model file gives"
