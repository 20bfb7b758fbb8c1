"""Numbers on features: reported beside the loss of pre-training, and by no one else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from client import training
from echofm_core.contract import EF_PROBE, EFFECTIVE_RANK
from echofm_core.plan.load import plan_from_mapping
from echofm_core.runtime.errors import PlanError
from echofm_core.training.objectives.phases import Model
from server.ending import FederationResult
from server.rounds import run_federation
from simulations.engine import Engine, SiteSettings
from tests.federation.small import NAMES, TRAIN, build_sites, small_plan, with_states


def federate(sites: list[SiteSettings], folder: Path, **tables: dict[str, Any]) -> FederationResult:
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


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> list[SiteSettings]:
    """alpha, with nine patients who have an EF."""
    return build_sites(tmp_path_factory.mktemp("probed"), ("alpha",), {"alpha": 9})


def test_the_probe_is_reported_and_judges_rounds_where_the_plan_says_so(
    probed: list[SiteSettings], tmp_path: Path
) -> None:
    """A site alone is its own federation: what it reports of its weights after round 1 is what it
    finds of them as round 2 begins, on the same patients and with nothing drawn.
    """
    table = {"rounds": 3, "judged_by": "probe"}
    result = federate(probed, tmp_path, pretrain=table, finetune={"rounds": 0})
    rows = result.metrics.set_index(["metric", "round"])["value"]
    for number in (1, 2, 3):
        judged, reported = rows["validation", number], rows[EF_PROBE, number]
        assert judged == pytest.approx(1 - reported, abs=1e-5)
    assert rows[EF_PROBE].nunique() == 3
    by_loss = federate(probed, tmp_path / "loss", pretrain={"rounds": 3}, finetune={"rounds": 0})
    assert by_loss.digest == result.digest and EF_PROBE in set(by_loss.metrics["metric"])
    silent = {"rounds": 3, "probe_patients": 0}
    without = federate(probed, tmp_path / "silent", pretrain=silent, finetune={"rounds": 0})
    assert without.digest == result.digest and EF_PROBE not in set(without.metrics["metric"])


def test_patience_can_go_by_the_probe(
    probed: list[SiteSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R2 as written: that round 3 is the second that is no better is known after round 4 of six."""
    found = iter([0.3, 0.2, 0.1, 0.1, 0.1])

    def written(*words: object, **_: object) -> dict[str, float]:
        return {EF_PROBE: next(found)} if judging else {EF_PROBE: 0.0}

    judging = True
    real = training._LocalRound._judged

    def judge(self: training._LocalRound, model: Model) -> dict[str, float]:
        nonlocal judging
        judging = True
        value = real(self, model)
        judging = False
        return value

    monkeypatch.setattr(training, "watch", written)
    monkeypatch.setattr(training._LocalRound, "_judged", judge)
    judging = False
    table = {"rounds": 6, "judged_by": "probe", "patience": 2}
    result = federate(probed, tmp_path, pretrain=table, finetune={"rounds": 0})
    rows = result.metrics[result.metrics["metric"] == "validation"]
    assert rows.set_index("round")["value"].to_dict() == pytest.approx(
        {1: 0.7, 2: 0.8, 3: 0.9, 4: 0.9}
    )
    assert result.metrics["round"].max() == 4


def test_who_probes_too_few_cannot_be_judged_by_it() -> None:
    with pytest.raises(PlanError, match="probe_patients should be at least 8, got 7"):
        plan_from_mapping({"pretrain": {"judged_by": "probe", "probe_patients": 7}}, "test")
