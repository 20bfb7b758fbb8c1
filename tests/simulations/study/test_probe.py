"""The probe on real clips: it measures each phase, leaves nothing, and counts decoded clips."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from echofm_core.contract import Phase
from echofm_core.data.prepare import read
from echofm_core.data.store.build import build_stores
from echofm_core.plan.document import Plan
from echofm_core.plan.load import load_plan
from simulations.protocols.assign import assign_sites
from simulations.study.dry_run import dry_run
from simulations.study.estimate import decode_seconds
from simulations.study.options import with_study
from simulations.study.probe import probe
from tests.simulations.alone.conftest import write_home


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return load_plan(write_home(tmp_path_factory.mktemp("probe")) / "plan.toml")


def test_every_phase_is_measured_and_decoded_clips_are_not_decoded_again(
    plan: Plan, tmp_path: Path
) -> None:
    """`echofm data store --out CACHE/stores` leaves what `simulate` with machine.cache uses."""
    found, _ = read(plan.data, plan.machine)
    costs = probe(plan, assign_sites(found, plan.protocol, plan.seed))
    assert set(costs.phases) == set(Phase)
    for cost in costs.phases.values():
        assert min(cost.step, cost.validation, cost.exchange) > 0
    assert costs.test > 0 and costs.memory > 50e6
    before = decode_seconds(found, plan, tmp_path, costs)
    assert before == pytest.approx(20 * costs.decode["echonet_dynamic"])
    assert [len(rows) for rows, *_ in build_stores(found, tmp_path / "stores", plan.data, 1)] == [
        20
    ]
    assert decode_seconds(found, plan, tmp_path, costs) == 0


def test_a_dry_run_prints_all_of_a_study_and_writes_nothing(plan: Plan, tmp_path: Path) -> None:
    out = io.StringIO()
    tuning = plan.finetune.model_copy(update={"label_fraction": 0.5})
    study = with_study(plan.model_copy(update={"finetune": tuning}), 3, "fedavg,local", None)
    (forecast,) = dry_run(study, tmp_path / "study", Console(file=out, width=400))
    # The mean of one site's models is that site alone, which is trained once.
    assert set(forecast.trainings) == {"pretraining:federated", "fedavg"}
    assert forecast.seconds > 3 * sum(work.seconds for work in forecast.trainings.values()) > 0
    text = " ".join(out.getvalue().split())
    for words in (
        "institution",
        "echonet_dynamic",
        "for 3 seeds",
        "GB of memory",
        "EF has training",
        "Each row is one of 3 trainings, one a seed.",
        "note: finetune.label_fraction is 0.5: fine-tuning uses",
    ):
        assert words in text, words
    assert list(tmp_path.iterdir()) == []
