"""What a site's policy refuses, and what it lets leave."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from client.plan_message import check_instruction
from client.policy import OPEN, Policy
from client.site import large_cells
from echofm_core.contract import (
    CONTROL,
    TRAIN,
    Action,
    Instruction,
    Phase,
    Score,
    SiteResult,
    Update,
)
from echofm_core.data.manifest import manifest_from_rows
from echofm_core.plan.document import Plan
from echofm_core.runtime.errors import PolicyError
from tests.federation.small import small_plan

PRIVATE = {"kind": "local", "epsilon": 3.0}
ONE = np.zeros(1, np.float32)


def question(plan: Plan, action: Action, *names: str, **changes: Any) -> Instruction:
    """An honest instruction with arrays of these names."""
    values: dict[str, Any] = {
        "action": action,
        "round": int(action in (Action.PRETRAIN, Action.FINETUNE)),
        "plan": plan.to_json(),
        "plan_hash": plan.digest(),
        "run": plan.run_name(),
        "weights": dict.fromkeys(names or ("encoder.a",), ONE),
    }
    return Instruction(**{**values, **changes})


@pytest.mark.parametrize(
    ("policy", "changes", "action", "sentence"),
    [
        ({"phases": ["finetune"]}, {}, Action.PRETRAIN, r"phases = finetune, .* for pretrain;"),
        ({"phases": []}, {}, Action.FINETUNE, r"phases = none, .* for finetune;"),
        ({"tasks": ["ef"]}, {}, Action.DESCRIBE, r"tasks = ef, .* for reduced_ef;"),
        ({"tasks": ["ef"]}, {}, Action.EVALUATE, r"tasks = ef, .* for reduced_ef;"),
        ({"privacy": "required"}, {}, Action.DESCRIBE, r'required, .* privacy\.kind = "none"'),
        ({"max_epsilon": 2.0}, {"privacy": PRIVATE}, Action.FINETUNE, r"2\.0, .* epsilon = 3;"),
        (
            {"max_epsilon": 9.0},
            {"privacy": {"kind": "local", "noise_multiplier": 1.0}},
            Action.FINETUNE,
            r"max_epsilon = 9\.0, .* no epsilon;",
        ),
        (
            {"min_noise": 0.5},
            {"privacy": {"kind": "local", "noise_multiplier": 1e-6}},
            Action.FINETUNE,
            r"min_noise = 0\.5, .* noise multiplier of 1e-06;",
        ),
        ({}, {"privacy": {**PRIVATE, "secure": False}}, Action.FINETUNE, r"secure = false"),
        ({"max_rounds": 1}, {}, Action.FINETUNE, r"max_rounds = 1, .* for 2 rounds;"),
    ],
)
def test_what_the_policy_does_not_allow_is_refused_by_its_key(
    policy: Mapping[str, Any], changes: Mapping[str, Any], action: Action, sentence: str
) -> None:
    """The same message passes under the open policy of a simulated site."""
    plan = small_plan(**changes)
    asked = question(plan, action)
    OPEN.check(plan, asked)
    with pytest.raises(PolicyError, match=sentence):
        Policy.model_validate(policy).check(plan, asked)


def test_the_defaults_allow_a_plain_plan_and_a_private_one() -> None:
    for plan in (small_plan(), small_plan(privacy=PRIVATE)):
        for action in Action:
            Policy().check(plan, question(plan, action, "encoder.a", "stf_net.b", "heads.ef.c"))


def test_a_decoder_leaves_only_where_both_plan_and_policy_have_it() -> None:
    """The encoder alone is in the default of ``groups``."""
    shared, own = small_plan(pretrain={"share_decoder": True}), small_plan()
    names = ("encoder.a", "decoder.b")
    with pytest.raises(PolicyError, match=r"groups = .*, the plan asks for decoder"):
        Policy().check(shared, question(shared, Action.PRETRAIN, *names))
    check_instruction(shared, question(shared, Action.PRETRAIN, *names))
    with pytest.raises(PolicyError, match="the decoder stays here"):
        check_instruction(own, question(own, Action.PRETRAIN, *names))
    hidden = question(own, Action.PRETRAIN, extra={f"{CONTROL}/decoder.b": ONE})
    with pytest.raises(PolicyError, match="the decoder stays here"):
        check_instruction(own, hidden)


@pytest.mark.parametrize("number", [-1, 0, 3, 10**9])
def test_a_round_that_the_plan_does_not_have_is_refused(number: int) -> None:
    """Each phase of the plan has rounds 1 and 2."""
    with pytest.raises(PolicyError, match="the plan has it in rounds 1 to 2"):
        check_instruction(small_plan(), question(small_plan(), Action.FINETUNE, round=number))


def test_the_last_round_is_validated_once_more_and_trains_nothing() -> None:
    plan = small_plan()
    check_instruction(plan, question(plan, Action.FINETUNE, round=3, settings={TRAIN: 0.0}))
    with pytest.raises(PolicyError):
        check_instruction(plan, question(plan, Action.FINETUNE, round=4, settings={TRAIN: 0.0}))


def test_another_name_of_the_run_is_refused() -> None:
    """Evaluations and privacy are counted by run: a new name would count anew."""
    for run in ("again", "", "../up", small_plan(finetune={"rounds": 3}).run_name()):
        with pytest.raises(PolicyError, match="run's name"):
            check_instruction(small_plan(), question(small_plan(), Action.FINETUNE, run=run))


def test_work_is_counted_in_steps_of_the_site() -> None:
    """Seven clips in batches of two are four steps a pass; 1,000 passes are 4,000 steps."""
    plan = small_plan(pretrain={"local_epochs": 1000})
    Policy(max_steps=4000).check_work(plan, Phase.PRETRAIN, 7)
    with pytest.raises(PolicyError, match="max_steps = 3999, the plan asks for a round of 4000"):
        Policy(max_steps=3999).check_work(plan, Phase.PRETRAIN, 7)


def test_models_of_a_sites_own_are_work_too() -> None:
    """Three steps a round are six with Ditto; a last step may be longer than any round."""
    plan = small_plan(personal={"ditto": 0.1, "last_steps": 5})
    with pytest.raises(PolicyError, match="max_steps = 5, the plan asks for a round of 6 steps"):
        Policy(max_steps=5).check_work(plan, Phase.FINETUNE, 4)
    plan = small_plan(personal={"last_steps": 50})
    Policy(max_steps=50).check_work(plan, Phase.FINETUNE, 4)
    with pytest.raises(PolicyError, match="the plan asks for a round of 50 steps"):
        Policy(max_steps=49).check_work(plan, Phase.FINETUNE, 4)
    only = Policy(phases=(Phase.PRETRAIN,))
    only.check(small_plan(), question(small_plan(), Action.EVALUATE))
    with pytest.raises(PolicyError, match="phases = pretrain, the plan asks for finetune"):
        only.check(plan, question(plan, Action.EVALUATE))


@pytest.mark.parametrize(
    ("hours", "inside", "outside"),
    [
        ("20:00-06:00", ("20:00", "23:59", "00:00", "05:59"), ("06:00", "19:59", "12:00")),
        ("08:30-17:00", ("08:30", "16:59"), ("08:29", "17:00", "00:00")),
    ],
)
def test_hours_are_those_of_the_sites_clock(
    hours: str, inside: tuple[str, ...], outside: tuple[str, ...]
) -> None:
    plan, policy = small_plan(), Policy(hours=hours)
    for clock in inside:
        policy.check(
            plan, question(plan, Action.FINETUNE), datetime.fromisoformat(f"2026-11-29 {clock}")
        )
    for clock in outside:
        now = datetime.fromisoformat(f"2026-11-29 {clock}")
        with pytest.raises(PolicyError, match=f"hours = {hours}, .* work at {clock}"):
            policy.check(plan, question(plan, Action.FINETUNE), now)
        policy.check(plan, question(plan, Action.DESCRIBE), now)


@pytest.mark.parametrize("hours", ["24:00-01:00", "8-9", "08:00", "08:00-09:60"])
def test_hours_that_are_none_are_no_policy(hours: str) -> None:
    with pytest.raises(ValidationError):
        Policy(hours=hours)


def test_a_round_ends_with_its_message_or_with_the_sites_own_limit() -> None:
    now = time.time()
    assert Policy().end_of_round(now + 60) == now + 60
    assert Policy(max_minutes=10).end_of_round(now + 60) == now + 60
    assert Policy(max_minutes=0.5).end_of_round(now + 3600) == pytest.approx(now + 30, abs=5)


def test_losses_and_scores_leave_rounded_and_by_name() -> None:
    policy = Policy(digits=2, metrics=("loss", "ef/*"))
    update = Update(
        site="a", phase=Phase.FINETUNE, round=1, plan_hash="p", weights={}, counts={"encoder": 3},
        metrics={
            "loss": 0.12345, "loss/ef": 0.5, "effective_rank": 3.456, "steps": 1234.0,
            "num-examples": 3.0,
        },
        checksum=0,
        numbers={"global_loss": 0.12345, "local_steps": 1234.0},
    )  # fmt: skip
    assert policy.released_update(update).metrics == {
        "loss": 0.12, "steps": 1234.0, "num-examples": 3.0,
    }  # fmt: skip
    assert policy.released_update(update).numbers == {"global_loss": 0.12, "local_steps": 1234.0}
    ranks = Policy(digits=2, metrics=("effective_rank",)).released_update(update).metrics
    assert ranks == {"effective_rank": 3.5, "steps": 1234.0, "num-examples": 3.0}
    scores = {
        "federated/ef/mae": Score(5.4321, 4.999, 6.001),
        "federated/esv/mae": Score(1.0, 1.0, 1.0),
    }
    result = SiteResult(site="a", plan_hash="p", digest="d", patients={"ef": 9}, scores=scores)
    ((name, score),) = policy.released_result(result).scores.items()
    assert name == "federated/ef/mae" and (score.value, score.low, score.high) == (5.4, 5.0, 6.0)
    assert math.isnan(score.p)
    with pytest.raises(PolicyError, match="none of the scores"):
        Policy(metrics=("as_grade/*",)).released_result(result)


@given(
    labels=st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.booleans()), max_size=14),
    least=st.integers(2, 5),
)
def test_no_label_of_fewer_patients_is_left(
    labels: list[tuple[int, bool, bool]], least: int
) -> None:
    """Counted by hand, with sets of patients."""
    rows = manifest_from_rows(
        {
            "dataset": "own", "patient_id": f"p{patient}", "study_id": f"s{number}",
            "clip_id": f"c{number}", "path": f"{number}.avi", "split": "test",
            **({"ef": 50.0} if ef else {}), **({"as_grade": 1} if stenosis else {}),
        }
        for number, (patient, ef, stenosis) in enumerate(labels)
    )  # fmt: skip
    left = large_cells(rows, least)
    every = {patient for patient, _, _ in labels}
    assert len(left) == (len(rows) if len(every) >= least else 0)
    for column, position in (("ef", 1), ("as_grade", 2)):
        known = {item[0] for item in labels if item[position]}
        kept = set(left.loc[left[column].notna(), "patient_id"])
        assert kept == ({f"p{number}" for number in known} if len(known) >= least else set())
    pd.testing.assert_series_equal(left.dtypes, rows.dtypes)
