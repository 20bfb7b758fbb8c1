"""Rarely used questions of a hostile or careless server: tests, the last step, the shared ends.

As in ``test_hostile_server.py`` the messages are real, and so is the ClientApp that answers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from echofm_core.contract import (
    ENCODER,
    SHARE,
    TRAIN,
    Action,
    SiteResult,
    Update,
    group_of,
)
from echofm_core.models.build import build_tuned_model
from echofm_core.models.weights import to_arrays
from server.wire import read_reply
from simulations.engine import SiteSettings
from simulations.flower_private import become_server
from tests.federation.small import build_sites, small_plan
from tests.federation.test_hostile_server import EF, Hospital, refusal


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> SiteSettings:
    become_server()
    return build_sites(tmp_path_factory.mktemp("questions"), ("alpha",))[0]


@pytest.fixture
def hospital(built: SiteSettings, tmp_path: Path) -> Hospital:
    return Hospital(built, tmp_path)


def test_a_plan_that_trains_no_task_tests_none(hospital: Hospital) -> None:
    """Who approves it reads that nothing is tested; nor does ``policy.tasks`` see its tasks."""
    plan = small_plan(pretrain={"rounds": 1}, finetune={"rounds": 0, "tasks": ["ef"]})
    hospital.allow(min_patients=1)
    assert "finetune.rounds = 0, and so no test" in refusal(hospital.ask(plan, Action.EVALUATE))
    assert not list(hospital.folder.glob("*/predictions.parquet"))
    plan = small_plan(pretrain={"rounds": 1}, finetune=EF)
    assert read_reply(hospital.ask(plan, Action.EVALUATE), SiteResult).patients == {"ef": 2}


def test_a_last_step_is_held_against_the_policy_where_no_round_was(hospital: Hospital) -> None:
    """The site has pre-trained, so that a test would take the last step."""
    plan = small_plan(pretrain={"rounds": 1}, finetune=EF, personal={"last_steps": 11})
    hospital.allow(min_patients=1)
    read_reply(hospital.ask(plan, Action.PRETRAIN), Update)
    hospital.allow(min_patients=1, max_steps=10)
    assert "max_steps = 10, the plan asks for a last step of 11 steps" in refusal(
        hospital.ask(plan, Action.EVALUATE)
    )
    hospital.allow(min_patients=1, max_steps=11)
    assert not hospital.ask(plan, Action.EVALUATE).has_error()


def test_what_stayed_leaves_only_by_names_that_the_policy_has_seen(hospital: Hospital) -> None:
    """The policy lets the encoder leave alone; a question without names asks for no group."""
    plan = small_plan(
        pretrain={"rounds": 0},
        finetune=EF,
        personal={"groups": ["heads", "stf_net"], "share_final": True},
    )
    hospital.allow(min_patients=1, groups=["encoder"])
    encoder = to_arrays(build_tuned_model(plan), [ENCODER])
    update = read_reply(hospital.ask(plan, Action.FINETUNE, weights=encoder), Update)
    assert set(map(group_of, update.weights)) == {ENCODER}
    last: dict[str, Any] = {"round": 2, "settings": {TRAIN: 0.0, SHARE: 1.0}}
    assert "policy has groups = encoder" in refusal(hospital.ask(plan, Action.FINETUNE, **last))
    for weights in ({}, encoder):
        reply = hospital.ask(plan, Action.FINETUNE, weights=weights, **last)
        assert not read_reply(reply, Update).weights


def test_a_kept_reply_has_as_many_patients_behind_it_as_the_policy_wants_now(
    hospital: Hospital,
) -> None:
    plan = small_plan(pretrain={"rounds": 0}, finetune=EF)
    hospital.allow(min_patients=1)
    assert read_reply(hospital.ask(plan, Action.FINETUNE), Update).counts["heads.ef"] == 4
    hospital.allow(min_patients=5)
    assert "no clip to train on" in refusal(hospital.ask(plan, Action.FINETUNE))
