"""Aortic stenosis in grades at one site, in three classes at another: one task for both."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd

from echofm_core.data.manifest import load_manifest, save_manifest
from server.rounds import run_federation
from simulations.engine import Engine, SiteSettings
from tests.federation.small import TRAIN, small_plan, with_states


def test_both_train_and_test_the_task(built_sites: list[SiteSettings], tmp_path: Path) -> None:
    """gamma has grades 0 to 2 as built; beta has classes 0 and 2 here, alpha has neither."""
    alpha, beta, gamma = built_sites
    rows = load_manifest(beta.manifest).reset_index(drop=True)
    rows["as_class"] = pd.array([2 * (number % 2) for number in rows.index], "Int32")
    save_manifest(rows, tmp_path / "beta.parquet")
    sites = [alpha, replace(beta, manifest=tmp_path / "beta.parquet"), gamma]
    finetune = {"rounds": 1, "tasks": ["ef", "as_grade", "as_class"]}
    plan = small_plan(pretrain={"rounds": 0}, finetune=finetune)
    with Engine() as engine:
        grid = engine.grid(with_states(sites, tmp_path / "state"))
        run_federation(grid, plan, tmp_path / "run")
    entry = json.loads((tmp_path / "run" / "journal" / "finetune-0001.json").read_text())
    assert {
        name: {group: clips for group, clips in part["counts"].items() if "as_" in group}
        for name, part in entry["sites"].items()
    } == {
        "alpha": {},
        "beta": {"heads.as_class": TRAIN["beta"]},
        "gamma": {"heads.as_class": TRAIN["gamma"], "heads.as_grade": TRAIN["gamma"]},
    }
    metrics = pd.read_parquet(tmp_path / "run" / "metrics.parquet")
    tested = metrics[metrics["metric"] == "as_class/accuracy"]
    assert set(tested["site"]) == {"beta", "gamma"}
