"""What a hostile or careless server can make a site do: real messages to the real ClientApp.

The site has a ``site.toml`` with a policy; the messages are those that a server of ours sends for
plans that are valid. What is refused names the key of the policy, and nothing was trained.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tomli_w
from flwr.app import Message

from client.approval import record_approval, withdraw
from client.policy import Policy
from echofm_core.contract import (
    DECODER,
    ENCODER,
    HEADS,
    STF_NET,
    TEACHER,
    Action,
    Instruction,
    SiteDescription,
    SiteResult,
    Update,
    Weights,
)
from echofm_core.data.manifest import load_manifest, save_manifest
from echofm_core.models.build import (
    build_autoencoder,
    build_latent_predictor,
    build_tuned_model,
)
from echofm_core.models.weights import to_arrays
from echofm_core.plan.document import Plan
from echofm_core.post_processing import post_processing
from echofm_core.training.watch import Watched
from server.wire import declined, read_reply, to_message, wired
from simulations.engine import SiteSettings
from simulations.flower_private import become_server, deliver
from simulations.workers import answer, load_client_app
from tests.federation.small import build_sites, small_plan

EF = {"rounds": 1, "tasks": ["ef"]}


@dataclass
class Hospital:
    """A site with its settings file."""

    built: SiteSettings
    folder: Path

    def allow(self, **policy: Any) -> None:
        """Write ``site.toml`` with a policy; all else as it was, and each plan may run."""
        policy = {"approved_plans": "optional"} | policy
        paths = {"manifest": self.built.manifest, "store": self.built.store, "state": self.folder}
        values = {"name": "alpha", "server": "fl.example.org:443", "policy": policy}
        text = tomli_w.dumps(values | {key: str(path) for key, path in paths.items()})
        (self.folder / "site.toml").write_text(text, encoding="utf-8")

    def ask(
        self, plan: Plan, action: Action, *, weights: Weights | None = None, seconds: float = 3600,
        **changes: Any,
    ) -> Message:  # fmt: skip
        """The site's answer to what a server sends for this plan."""
        message = self.message(plan, action, weights=weights, seconds=seconds, **changes)
        return answer(load_client_app("client.app:app"), message, self.node)

    def message(
        self, plan: Plan, action: Action, *, weights: Weights | None = None, seconds: float = 3600,
        **changes: Any,
    ) -> Message:  # fmt: skip
        """What a server sends for this plan, as the site gets it."""
        asked = Instruction(
            **{
                "action": action,
                "round": int(action in (Action.PRETRAIN, Action.FINETUNE)),
                "plan": plan.to_json(),
                "plan_hash": plan.digest(),
                "run": plan.run_name(),
            }
            | changes
        )
        arrays = dict(_weights(plan, action) if weights is None else weights)
        record = wired(arrays, post_processing(plan.federation)).record
        return deliver(to_message(asked, record, 1, seconds), "1")

    @property
    def node(self) -> dict[str, str | int | float | bool]:
        """Node config, as `echofm client start` gives it."""
        paths = {"manifest": self.built.manifest, "store": self.built.store, "state": self.folder}
        paths["settings"] = self.folder / "site.toml"
        rest = {"site": "alpha", "threads": 1, "device": "cpu"}
        return rest | {key: str(path) for key, path in paths.items()}


def _weights(plan: Plan, action: Action) -> Weights:
    if action is Action.DESCRIBE:
        return {}
    if action is Action.PRETRAIN:
        shared = [ENCODER, DECODER] if plan.pretrain.share_decoder else [ENCODER]
        return to_arrays(build_autoencoder(plan), shared)
    return to_arrays(build_tuned_model(plan), [ENCODER, STF_NET, HEADS])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> SiteSettings:
    become_server()
    return build_sites(tmp_path_factory.mktemp("hostile"), ("alpha",))[0]


@pytest.fixture
def hospital(built: SiteSettings, tmp_path: Path) -> Hospital:
    """Four patients in training and two in the test split: fewer than the default of 5 behind
    each number, so most tests here allow one."""
    site = Hospital(built, tmp_path)
    site.allow(min_patients=1)
    return site


def refusal(reply: Message) -> str:
    """Why the site refused; it must have."""
    assert reply.has_error(), "the site did what it must refuse"
    return reply.error.reason


def private(**changes: Any) -> Plan:
    table = {"kind": "local", "delta": 1e-3, "epsilon": 3.0} | changes
    kept = {key: value for key, value in table.items() if value is not None}
    return small_plan(pretrain={"rounds": 0}, finetune=EF, privacy=kept)


def test_without_a_teacher_nothing_is_trained_on_latent_targets(hospital: Hospital) -> None:
    """Neither towards a drawn one, nor does a teacher come back that is sent to be trained."""
    table = {"rounds": 2, "target": "latent", "teacher_rounds": 1}
    plan = small_plan(pretrain=table, finetune={"rounds": 0})
    assert not hospital.ask(plan, Action.PRETRAIN).has_error()
    reason = refusal(hospital.ask(plan, Action.PRETRAIN, round=2))
    assert "latent targets, but the server names no teacher" in reason
    weights = to_arrays(build_latent_predictor(plan), [ENCODER, TEACHER])
    reason = refusal(hospital.ask(plan, Action.PRETRAIN, weights=weights, round=2))
    assert "groups = " in reason and "asks for teacher" in reason


def test_a_watched_number_has_as_many_patients_behind_it_as_the_policy_wants(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan wants two; of whom the number is stands in tests/training/test_watch.py."""
    found: list[int] = []

    def rank(*words: object, **_: object) -> dict[str, float]:
        watched = words[-1]
        assert isinstance(watched, Watched)
        found.append(len(watched.ranked))
        return {"effective_rank": 1.0}

    monkeypatch.setattr("client.training.watch", rank)
    hospital.allow(min_patients=3)
    plan = small_plan(pretrain={"rounds": 1, "watch_patients": 2}, finetune={"rounds": 0})
    reply = read_reply(hospital.ask(plan, Action.PRETRAIN), Update)
    assert found == [3] and reply.metrics["effective_rank"] == 1.0


@pytest.mark.parametrize(
    ("allowed", "leaves"),
    [
        (("validation",), {}),
        (("validation", "ef_probe_r2"), {"ef_probe_r2": 0.25, "validation": 0.75}),
    ],
)
def test_a_probe_that_may_not_leave_does_not_leave_as_what_judges_a_round(
    hospital: Hospital,
    monkeypatch: pytest.MonkeyPatch,
    allowed: tuple[str, ...],
    leaves: dict[str, float],
) -> None:
    monkeypatch.setattr("client.training.watch", lambda *_, **__: {"ef_probe_r2": 0.25})
    hospital.allow(min_patients=1, metrics=list(allowed))
    table = {"rounds": 1, "judged_by": "probe"}
    plan = small_plan(pretrain=table, finetune={"rounds": 0})
    message = hospital.ask(plan, Action.PRETRAIN, settings={"validate": 1.0})
    found = read_reply(message, Update).metrics
    assert {name: found[name] for name in ("ef_probe_r2", "validation") if name in found} == leaves


@pytest.mark.parametrize(
    ("policy", "plan", "key"),
    [
        ({"privacy": "required"}, small_plan(pretrain={"rounds": 0}, finetune=EF), "privacy"),
        ({"min_noise": 0.3}, private(epsilon=None, noise_multiplier=1e-6), "min_noise"),
        ({"min_noise": 0.3}, private(epsilon=1e4), "min_noise"),
        ({"max_epsilon": 8.0}, private(epsilon=1e4), "max_epsilon"),
        ({}, private(secure=False), "system_noise"),
        ({"max_steps": 10}, small_plan(finetune={**EF, "local_steps": 11}), "max_steps"),
        ({"groups": ["encoder"]}, small_plan(finetune=EF), "groups"),
    ],
)
def test_the_policy_is_held_against_every_training_message(
    hospital: Hospital, policy: dict[str, Any], plan: Plan, key: str
) -> None:
    hospital.allow(min_patients=1, **policy)
    assert f"PolicyError: this site's policy has {key} = " in refusal(
        hospital.ask(plan, Action.FINETUNE)
    )
    hospital.allow(min_patients=1, system_noise=False)
    read_reply(hospital.ask(plan, Action.FINETUNE), Update)


def test_a_changed_policy_holds_from_the_next_message_on(hospital: Hospital) -> None:
    plan = small_plan(pretrain={"rounds": 0}, finetune=EF)
    read_reply(hospital.ask(plan, Action.FINETUNE), Update)
    hospital.allow(privacy="required")
    assert "privacy = required" in refusal(hospital.ask(plan, Action.FINETUNE))
    (hospital.folder / "site.toml").unlink()
    assert "PlanError" in refusal(hospital.ask(plan, Action.FINETUNE)), "no settings, no answer"


def test_a_decoder_that_the_plan_does_not_share_never_leaves(hospital: Hospital) -> None:
    own = small_plan(pretrain={"rounds": 1}, finetune={"rounds": 0})
    both = to_arrays(build_autoencoder(own), [ENCODER, DECODER])
    hospital.allow(min_patients=1, groups=["encoder", "decoder"])
    assert "the decoder stays here" in refusal(hospital.ask(own, Action.PRETRAIN, weights=both))
    shared = small_plan(pretrain={"rounds": 1, "share_decoder": True}, finetune={"rounds": 0})
    update = read_reply(hospital.ask(shared, Action.PRETRAIN), Update)
    assert set(update.counts) == {ENCODER, DECODER}
    hospital.allow(min_patients=1)
    assert "groups = " in refusal(hospital.ask(shared, Action.PRETRAIN))


@pytest.mark.parametrize("number", [-1, 0, 2, 10**9])
def test_rounds_are_those_of_the_plan(hospital: Hospital, number: int) -> None:
    plan = small_plan(pretrain={"rounds": 0}, finetune=EF)
    assert "in rounds 1 to 1" in refusal(hospital.ask(plan, Action.FINETUNE, round=number))


def test_the_run_is_named_by_the_plan(hospital: Hospital) -> None:
    """Not by the server, for whom a new name would be a new count of tests."""
    plan = small_plan(pretrain={"rounds": 0}, finetune=EF)
    for run in ("again", "../up", plan.run_name() + "x"):
        for action in (Action.DESCRIBE, Action.FINETUNE, Action.EVALUATE):
            kind = {"round": 1} if action is Action.FINETUNE else {}
            assert "run's name" in refusal(hospital.ask(plan, action, run=run, **kind))
    assert not [path for path in hospital.folder.iterdir() if path.is_dir()]


def test_one_patients_value_does_not_leave(built: SiteSettings, hospital: Hospital) -> None:
    """One test patient and a constant model: the score would be this patient's EF.

    Two test patients are left of six clips; with ``min_patients = 2`` they may be scored, with 3
    they may not. Training needs as many: of four patients with an EF, five are asked for.
    """
    plan = small_plan(pretrain={"rounds": 0}, finetune=EF)
    manifest = load_manifest(built.manifest)
    one = manifest[(manifest["split"] != "test") | (manifest["clip_id"] == "alpha-c4")]
    save_manifest(one, hospital.folder / "one.parquet")
    alone = Hospital(
        SiteSettings(
            name="alpha", manifest=hospital.folder / "one.parquet", store=built.store,
            state=hospital.folder,
        ),
        hospital.folder,
    )  # fmt: skip
    alone.allow(min_patients=1)
    assert read_reply(alone.ask(plan, Action.EVALUATE), SiteResult).patients == {"ef": 1}
    alone.allow(min_patients=2)
    result = read_reply(alone.ask(plan, Action.EVALUATE), SiteResult)
    assert not result.patients and not result.scores
    about = read_reply(alone.ask(plan, Action.DESCRIBE), SiteDescription)
    assert about.test_labels == {} and about.labels == {"ef": 4}
    hospital.allow(min_patients=2)
    assert read_reply(hospital.ask(plan, Action.EVALUATE), SiteResult).patients == {"ef": 2}
    hospital.allow(min_patients=5)
    about = read_reply(hospital.ask(plan, Action.DESCRIBE), SiteDescription)
    assert about.labels == {} and about.train_clips == 0
    assert "no clip to train on" in refusal(hospital.ask(plan, Action.FINETUNE))


def test_tests_of_a_run_are_counted_over_restarts(hospital: Hospital) -> None:
    """Each message is answered by a process of its own, so the count is on disk."""
    plan = small_plan(pretrain={"rounds": 0}, finetune=EF)
    hospital.allow(min_patients=1, max_evaluations=2)
    for _ in range(2):
        read_reply(hospital.ask(plan, Action.EVALUATE), SiteResult)
    assert "max_evaluations = 2" in refusal(hospital.ask(plan, Action.EVALUATE))
    (hospital.folder / plan.run_name() / "evaluations.txt").write_text("none")
    assert "damaged" in refusal(hospital.ask(plan, Action.EVALUATE))


def test_a_site_trains_no_longer_than_somebody_waits(hospital: Hospital) -> None:
    """A billion steps, with a policy that allows them; the message lives for a second.

    The server's time of grace is part of a message's life (``server.wire.GRACE``).
    """
    from server.wire import GRACE

    hospital.allow(min_patients=1, max_steps=1_000_000_000)
    plan = small_plan(pretrain={"rounds": 0}, finetune={**EF, "local_steps": 1_000_000})
    started = time.monotonic()
    assert "its time was over after" in refusal(
        hospital.ask(plan, Action.FINETUNE, seconds=1.0 - GRACE)
    )
    assert time.monotonic() - started < 60


def test_a_policy_that_is_not_valid_refuses_all(hospital: Hospital) -> None:
    hospital.allow(minimum_patients=5)
    sentence = refusal(hospital.ask(small_plan(), Action.DESCRIBE))
    assert "PlanError" in sentence and "minimum_patients" in sentence
    assert str(hospital.folder) not in sentence


def test_numbers_leave_in_as_many_digits_as_the_site_says(hospital: Hospital) -> None:
    plan = small_plan(pretrain={"rounds": 0}, finetune=EF)
    exact = read_reply(hospital.ask(plan, Action.EVALUATE), SiteResult).scores
    hospital.allow(min_patients=1, digits=2, metrics=["loss", "ef/mae"])
    ((name, score),) = read_reply(hospital.ask(plan, Action.EVALUATE), SiteResult).scores.items()
    assert name == "federated/ef/mae" and score.value == float(f"{exact[name].value:.2g}")
    update = read_reply(hospital.ask(plan, Action.FINETUNE), Update)
    loss = update.metrics["loss"]
    assert loss == float(f"{loss:.2g}") and "loss/ef" not in update.metrics
    assert pd.notna(update.metrics["seconds"])


def test_only_an_approved_plan_is_answered(hospital: Hospital) -> None:
    """Required where the policy says nothing of it; nothing of the site is read before."""
    plan = small_plan(pretrain={"rounds": 0}, finetune=EF)
    other = small_plan(pretrain={"rounds": 0}, finetune={**EF, "local_steps": 4})
    hospital.allow(min_patients=1, approved_plans="required")
    for action in (Action.DESCRIBE, Action.FINETUNE, Action.EVALUATE):
        reply = hospital.ask(plan, action)
        sentence = refusal(reply)
        assert (
            declined(reply)
            and f"(hash {plan.digest()[:12]}); there: `echofm client approve FOLDER" in sentence
        )
    assert not [path for path in hospital.folder.iterdir() if path.is_dir()]
    record_approval(hospital.folder, plan)
    read_reply(hospital.ask(plan, Action.FINETUNE), Update)
    assert "has not approved" in refusal(hospital.ask(other, Action.FINETUNE))
    withdraw(hospital.folder, plan.run_name())
    assert "has not approved" in refusal(hospital.ask(plan, Action.EVALUATE))
    assert Policy().approved_plans == "required"
