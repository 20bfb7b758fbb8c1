"""Effective rank of features: reported beside the loss of pre-training, and by no one else."""

from __future__ import annotations

from pathlib import Path

import pytest

from echofm_core.contract import EFFECTIVE_RANK
from server.ending import FederationResult
from server.rounds import run_federation
from simulations.engine import Engine, SiteSettings
from tests.federation.small import NAMES, TRAIN, small_plan, with_states


def federate(
    sites: list[SiteSettings], folder: Path, **tables: dict[str, object]
) -> FederationResult:
    with Engine() as engine:
        grid = engine.grid(with_states(sites, folder / "state"))
        return run_federation(grid, small_plan(**tables), folder / "run")


def test_each_site_reports_it_in_each_round_of_pre_training(
    built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    """At most the number of training patients; and it changes no weight."""
    result = federate(built_sites, tmp_path / "watched")
    rows = result.metrics[result.metrics["metric"] == EFFECTIVE_RANK]
    assert set(rows["phase"]) == {"pretrain"}
    assert sorted(zip(rows["site"], rows["round"], strict=True)) == [
        (site, number) for site in NAMES for number in (1, 2)
    ]
    for site, found in rows.groupby("site"):
        assert found["value"].between(1, TRAIN[str(site)]).all()
    silent = federate(built_sites, tmp_path / "silent", pretrain={"watch_patients": 0})
    assert silent.digest == result.digest
    assert EFFECTIVE_RANK not in set(silent.metrics["metric"])


def test_not_under_differential_privacy(built_sites: list[SiteSettings], tmp_path: Path) -> None:
    result = federate(
        built_sites,
        tmp_path,
        pretrain={"rounds": 1},
        finetune={"rounds": 0},
        privacy={"kind": "local", "noise_multiplier": 1.0, "delta": 1e-2, "secure": False},
    )
    assert "epsilon" in set(result.metrics["metric"])
    assert EFFECTIVE_RANK not in set(result.metrics["metric"])


@pytest.mark.parametrize("target", ["pixels", "latent"])
def test_of_latent_targets_it_is_the_students(
    built_sites: list[SiteSettings], tmp_path: Path, target: str
) -> None:
    """Both stages report one."""
    table = {"rounds": 2, "target": target, "teacher_rounds": int(target == "latent")}
    result = federate(built_sites[:1], tmp_path, pretrain=table, finetune={"rounds": 0})
    rows = result.metrics[result.metrics["metric"] == EFFECTIVE_RANK]
    assert rows["round"].tolist() == [1, 2] and rows["value"].nunique() == 2
