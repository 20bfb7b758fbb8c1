"""A private round is paid once: the reply is kept, and sent again byte for byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.kept_reply import FILE
from echofm_core.contract import Action, Update
from echofm_core.privacy.ledger import Ledger
from echofm_core.runtime.errors import EngineError
from server.journal import Journal
from server.rounds import run_federation
from server.wire import read_reply
from simulations.engine import Engine, SiteSettings
from simulations.flower_private import become_server
from tests.federation.small import build_sites, small_plan, with_states
from tests.federation.test_hostile_server import EF, Hospital, private, refusal


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[SiteSettings]:
    become_server()
    return build_sites(tmp_path_factory.mktemp("kept"), ("alpha", "beta"))


def same(first: Update, second: Update) -> bool:
    """Every array and number."""
    names = first.weights.keys() | second.weights.keys()
    arrays = all(np.array_equal(first.weights[name], second.weights[name]) for name in names)
    return arrays and (first.checksum, dict(first.metrics), dict(first.counts)) == (
        second.checksum, dict(second.metrics), dict(second.counts),
    )  # fmt: skip


def test_the_same_question_gets_the_same_reply_for_nothing(
    built: list[SiteSettings], tmp_path: Path
) -> None:
    """Another question, with other weights or of another plan, is trained and paid for."""
    hospital, plan = Hospital(built[0], tmp_path), private()
    hospital.allow(min_patients=1)
    first = read_reply(hospital.ask(plan, Action.FINETUNE), Update)
    again = read_reply(hospital.ask(plan, Action.FINETUNE), Update)
    assert same(first, again) and len(Ledger(tmp_path).entries) == 1
    moved = {name: array + 1e-3 for name, array in first.weights.items()}
    assert "budget is spent" in refusal(hospital.ask(plan, Action.FINETUNE, weights=moved))
    (tmp_path / plan.run_name() / FILE).write_bytes(b"damaged")
    assert "budget is spent" in refusal(hospital.ask(plan, Action.FINETUNE))


def test_a_kept_reply_leaves_by_the_policy_of_now(
    built: list[SiteSettings], tmp_path: Path
) -> None:
    """The seconds are those of the first training, so it is the kept one."""
    hospital, plan = Hospital(built[0], tmp_path), small_plan(pretrain={"rounds": 0}, finetune=EF)
    hospital.allow(min_patients=1)
    first = read_reply(hospital.ask(plan, Action.FINETUNE), Update)
    hospital.allow(min_patients=1, metrics=["ef/*"])
    again = read_reply(hospital.ask(plan, Action.FINETUNE), Update)
    assert "loss" in first.metrics and "loss" not in again.metrics
    assert first.metrics["seconds"] == again.metrics["seconds"]


def test_plans_of_one_budget_add_up_and_the_site_ends_them(
    built: list[SiteSettings], tmp_path: Path
) -> None:
    """Plans that differ in the seed are runs of their own, and patients are the same."""
    hospital = Hospital(built[0], tmp_path)
    hospital.allow(min_patients=1, total_epsilon=4.0)
    plans = [private().model_copy(update={"seed": seed}) for seed in range(3)]
    read_reply(hospital.ask(plans[0], Action.FINETUNE), Update)
    sentences = [refusal(hospital.ask(plan, Action.FINETUNE)) for plan in plans[1:]]
    assert all("over all its runs" in sentence for sentence in sentences)
    hospital.allow(min_patients=1)
    read_reply(hospital.ask(plans[1], Action.FINETUNE), Update)
    assert 4.0 < Ledger(tmp_path).epsilon(1e-3) < 6.0, "sharper than the sum of two epsilons"


def test_a_private_run_that_is_killed_before_its_journal_goes_on_to_its_end(
    built: list[SiteSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise of the system: a round trained twice would leave no budget for the last one."""
    plan = small_plan(
        pretrain={"rounds": 0}, finetune={**EF, "rounds": 3},
        privacy={"kind": "local", "epsilon": 5.0, "delta": 1e-2, "secure": True},
    )  # fmt: skip
    sites, run = with_states(built, tmp_path / "state"), tmp_path / "run"
    record, calls = Journal.record, []

    def dies(*args: Any, **options: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise EngineError("killed")
        record(*args, **options)

    monkeypatch.setattr(Journal, "record", dies)
    with Engine(1) as engine:
        with pytest.raises(EngineError, match="killed"):
            run_federation(engine.grid(sites), plan, run)
        run_federation(engine.grid(sites), plan, run, resume=True)
    entries = [json.loads(path.read_text()) for path in sorted((run / "journal").glob("*.json"))]
    assert [sorted(entry["sites"]) for entry in entries] == [["alpha", "beta"]] * 3
    for site in sites:
        assert [entry.round for entry in Ledger(site.state).entries] == [1, 2, 3]
    assert entries[-1]["sites"]["alpha"]["metrics"]["epsilon"] <= 5.0
