"""Stress of a federation: each site's own test clips, its own model where it has one."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from echofm_core.inference.stress import stress_run
from echofm_core.phantom.hospitals import HOSPITALS
from echofm_core.phantom.institutions import write_hospitals
from echofm_core.plan.load import plan_from_mapping
from echofm_core.report.stress import read_stress
from simulations.experiment import run_experiment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_clean_values_are_those_of_every_sites_own_test(tmp_path: Path) -> None:
    """Two hospitals whose heads stay at home, bit for bit: the heads of the run's own model have
    learnt nothing, so the sites' own models must have been tested."""
    chosen = [item for item in HOSPITALS if item.name in ("harbour", "northfield")]
    write_hospitals(tmp_path / "data", chosen, 16, seed=5)
    values = {
        "name": "stressed",
        "data": {"size": 32, "frames": 4, "test_windows": 2},
        "model": {"patch": 16},
        "pretrain": {"rounds": 0},
        "finetune": {"rounds": 1, "local_steps": 3, "batch_size": 4, "tasks": ["ef"]},
        "personal": {"groups": ["heads"]},
        "evaluation": {"bootstrap": 100, "baselines": [], "min_patients": 2},
        "machine": {"roots": [str(tmp_path / "data")], "device": "cpu"},
    }
    run = tmp_path / "run"
    run_experiment(plan_from_mapping(values, "of a test"), run)
    stress_run(run, None, print)
    table = read_stress(run)
    keys = ["site", "task", "metric"]
    clean = table[table["change"] == "clean"].set_index(keys)
    scores = pd.read_parquet(run / "scores.parquet")
    expected = scores[scores["model"] == "federated"].set_index(keys)["value"]
    single = [key for key in clean.index if key[0] in ("harbour", "northfield")]
    assert len(single) == 6
    assert (clean.loc[single, "value"] == expected[single]).all()
    joint = set(clean.index.get_level_values("site")) - {"harbour", "northfield"}
    assert joint == {"mean of sites", "worst site"}
