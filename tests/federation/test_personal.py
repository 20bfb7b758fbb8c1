"""Federations in which part of the model stays at each site."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from client.personal import personal_models
from client.site import Site
from client.state import Own, SiteState
from echofm_core.contract import Scored, Weights, group_of
from echofm_core.models.build import build_echo_model
from echofm_core.models.local_names import local_names
from echofm_core.models.saved import load_model
from echofm_core.models.weights import load_arrays, named_weights, to_arrays
from echofm_core.plan.document import Plan
from echofm_core.runtime.array_files import load
from echofm_core.runtime.errors import CheckpointError, FederationError
from server.ending import FederationResult
from server.evaluation import evaluate_sites
from server.events import Event
from simulations.engine import Engine, SiteSettings
from tests.federation.small import NAMES, small_plan, with_states
from tests.federation.wiretap import Wiretap, federate, groups

Done = tuple[Path, FederationResult, Wiretap]
TRAIN = "train.finetune"


def personal_plan(*local: str, **more: Any) -> Plan:
    """Fine-tuning alone, of two rounds of three steps."""
    return small_plan(pretrain={"rounds": 0}, personal={"groups": local, **more})


#: A drawn head's EF is near the mean that targets are standardised with, 55 %, within so much.
DRAWN = 1.0
FEDPER = personal_plan("heads", "stf_net")


@pytest.fixture(scope="module")
def fedper(built_sites: list[SiteSettings], tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("fedper")
    return folder, *federate(built_sites, FEDPER, folder)


def state(folder: Path, site: str, plan: Plan = FEDPER) -> SiteState:
    return SiteState(folder / "state" / site, plan.run_name())


def learns(site: str, name: str) -> bool:
    """Whether a site has labels for what a parameter predicts; all have, where it is no head's."""
    other = {"alpha": {"as_grade"}, "beta": {"as_grade"}, "gamma": {"ef", "reduced_ef"}}
    whole, _, task = group_of(name).partition(".")
    return whole != "heads" or task not in other[site]


def same(first: Weights, second: Weights) -> bool:
    return first.keys() == second.keys() and all(
        np.array_equal(first[name], second[name]) for name in first
    )


def test_no_array_that_stays_leaves_a_site(fedper: Done) -> None:
    _, _, tap = fedper
    trained = [row for row in tap.returned if row[0] == TRAIN]
    assert len(trained) == len(NAMES) * 2
    assert {group_of(name) for row in trained for name in row[3]} == {"encoder"}


def test_what_stays_is_sent_once_and_never_the_training_of_another(fedper: Done) -> None:
    """With the first round, as it was drawn; the test at the end brings the same."""
    _, result, tap = fedper
    own = {group_of(name) for name in local_names(FEDPER)}
    assert groups(tap.sent, "frozen", "1") == own
    assert groups(tap.sent, "frozen", "2") == set()
    for round_ in ("1", "2"):
        assert groups(tap.sent, "arrays", round_) == {"encoder"}
    drawn = to_arrays(build_echo_model(FEDPER), own)
    assert same({name: result.weights[name] for name in drawn}, drawn)


def test_each_site_trains_its_own(fedper: Done) -> None:
    """All of them differ between sites and rounds."""
    folder, _, _ = fedper
    for name in NAMES:
        first, second = (state(folder, name).own(Own.LOCAL, number) for number in (2, 3))
        assert first.keys() == second.keys() == {n for n in local_names(FEDPER) if learns(name, n)}
        assert not same(first, second)
    alpha, beta = (state(folder, name).own(Own.LOCAL, 3) for name in ("alpha", "beta"))
    assert not np.array_equal(alpha["heads.ef.linear.weight"], beta["heads.ef.linear.weight"])


def test_a_round_goes_on_from_a_sites_own_of_the_round_before(
    built_sites: list[SiteSettings], tmp_path: Path, fedper: Done
) -> None:
    """Where alpha's of round 1 is lost, round 2 begins at what was drawn, and ends elsewhere."""

    def lose(event: Event) -> None:
        if event.round_done and event.round == 1:
            shutil.rmtree(state(tmp_path, "alpha").folder / "local")

    result, _ = federate(built_sites, FEDPER, tmp_path, on_event=lose)
    assert result.digest != fedper[1].digest


def test_a_site_is_tested_with_its_own(fedper: Done) -> None:
    """The predictions are those of the shipped encoder with the site's own parts, and the site can
    go on predicting with that model.
    """
    folder, result, _ = fedper
    found = pd.read_parquet(state(folder, "alpha").folder / "predictions.parquet")
    saved = load_model(state(folder, "alpha").folder)
    own = state(folder, "alpha").own(Own.LOCAL, 3)
    model = build_echo_model(FEDPER)
    load_arrays(model, {**result.weights, **own})
    every = {group_of(name) for name in named_weights(model)}
    assert same(to_arrays(saved.model, every), to_arrays(model, every))
    ef = found[found["task"] == "ef"]["prediction"]
    assert np.abs(ef - 55).max() > DRAWN


def test_heads_that_stay_are_no_trained_tasks_of_the_shipped_model(fedper: Done) -> None:
    folder, _, _ = fedper
    with pytest.raises(CheckpointError, match="no trained task"):
        load_model(folder / "run")


def test_the_clips_behind_a_head_count_though_it_stays(fedper: Done) -> None:
    """By them the trunk is weighed by task family: gamma's stenosis is a family of its own."""
    folder, _, _ = fedper
    entry = json.loads((folder / "run/journal/finetune-0002.json").read_text())
    assert entry["sites"]["gamma"]["counts"] == {"encoder": 2, "stf_net": 2, "heads.as_grade": 2}
    assert set(entry["sites"]) == set(NAMES) and not entry["refused"]


def test_norms_stay_while_their_layers_are_shared(
    built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    plan = personal_plan("norms")
    result, tap = federate(built_sites, plan, tmp_path)
    names = {name for row in tap.returned if row[0] == TRAIN for name in row[3]}
    stay = local_names(plan)
    assert not names & stay
    assert names == named_weights(build_echo_model(plan)).keys() - stay
    drawn = to_arrays(build_echo_model(plan), ["encoder"])
    norm, layer = "encoder.norm.weight", "encoder.patch_embed.weight"
    assert np.array_equal(result.weights[norm], drawn[norm])
    assert not np.array_equal(result.weights[layer], drawn[layer])
    alpha = state(tmp_path, "alpha", plan).own(Own.LOCAL, 3)
    assert not np.array_equal(alpha[norm], drawn[norm])


def test_a_server_that_asks_for_what_stays_is_refused(
    built_sites: list[SiteSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sends heads as if they were to be averaged."""
    monkeypatch.setattr("server.rounds.local_names", lambda plan: frozenset())
    with pytest.raises(FederationError, match="it stays here"):
        federate(built_sites, FEDPER, tmp_path)
    kept = list((tmp_path / "state").rglob("local/*"))
    assert not kept


def test_a_site_that_never_trained_is_tested_with_what_was_sent(
    built_sites: list[SiteSettings], tmp_path: Path, fedper: Done
) -> None:
    _, result, _ = fedper
    with Engine() as engine:
        grid = engine.grid(with_states(built_sites[:1], tmp_path))
        evaluate_sites(grid, FEDPER, result.weights)
    found = tmp_path / "alpha" / FEDPER.run_name()
    assert not (found / "model").exists() and not (found / "local").exists()
    rows = pd.read_parquet(found / "predictions.parquet")
    assert np.abs(rows[rows["task"] == "ef"]["prediction"] - 55).max() < DRAWN


@pytest.fixture(scope="module")
def plain(
    built_sites: list[SiteSettings], tmp_path_factory: pytest.TempPathFactory
) -> FederationResult:
    """The same federation without anything personal."""
    plan = small_plan(pretrain={"rounds": 0})
    return federate(built_sites, plan, tmp_path_factory.mktemp("plain"))[0]


OWN_MODELS = personal_plan(ditto=0.5, last_steps=3)


@pytest.fixture(scope="module")
def own_models(built_sites: list[SiteSettings], tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("own")
    return folder, *federate(built_sites, OWN_MODELS, folder)


def test_models_of_a_sites_own_leave_the_global_one_as_it_is(
    own_models: Done, plain: FederationResult
) -> None:
    """To the bit, and nothing more crosses the wire."""
    _, result, tap = own_models
    assert result.digest == plain.digest
    assert {row[2] for row in tap.returned} == {"arrays"}


def test_a_site_is_tested_with_the_global_model_and_with_its_own(
    own_models: Done, plain: FederationResult
) -> None:
    """Scores of the global one are those of the plan without; the others are other numbers."""
    folder, result, _ = own_models
    for found, before in zip(result.site_results, plain.site_results, strict=True):
        names = {name.partition("/")[0] for name in found.scores}
        assert names == {"federated", "personal", "last_step"}
        shared = {n: s for n, s in found.scores.items() if n.startswith("federated/")}
        assert repr(shared) == repr(dict(before.scores))
    home = state(folder, "alpha", OWN_MODELS).folder
    files = ("predictions", "predictions-personal", "predictions-last_step")
    tables = [pd.read_parquet(home / f"{name}.parquet")["prediction"] for name in files]
    assert len({tuple(values) for values in tables}) == 3


def test_ditto_goes_on_from_the_round_before_and_is_held_near_the_global_model(
    own_models: Done, built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    """Held a thousand times as firmly, it ends nearer to where the last round began."""
    folder, _, _ = own_models
    free = state(folder, "alpha", OWN_MODELS)
    first, second = free.own(Own.PERSONAL, 2), free.own(Own.PERSONAL, 3)
    every = named_weights(build_echo_model(OWN_MODELS)).keys()
    assert first.keys() == second.keys() == {n for n in every if group_of(n) != "heads.as_grade"}
    assert not same(first, second)
    plan = personal_plan(ditto=500.0)
    federate(built_sites, plan, tmp_path)
    held = state(tmp_path, "alpha", plan).own(Own.PERSONAL, 3)
    sent = load(folder / "run/checkpoints/finetune-0001.safetensors")

    def away(own: Weights) -> float:
        return sum(float(np.square(own[name] - sent[name]).sum()) for name in own)

    assert away(held) < away(second)


def test_a_head_that_a_site_cannot_train_is_the_shipped_one_in_its_personal_model(
    own_models: Done, built_sites: list[SiteSettings]
) -> None:
    """Alpha has no grade of stenosis, so that Ditto's objective is least where v is w."""
    folder, result, _ = own_models
    site = Site.open(opened(built_sites[0]), OWN_MODELS)
    own = state(folder, "alpha", OWN_MODELS)
    model = dict(personal_models(site, OWN_MODELS, result.weights, own))[Scored.PERSONAL]
    head = to_arrays(model, ["heads.as_grade"])
    assert same(head, {name: result.weights[name] for name in head})
    drawn = to_arrays(build_echo_model(OWN_MODELS), ["heads.as_grade"])
    assert not same(head, drawn), "gamma has trained it"


def opened(site: SiteSettings) -> dict[str, str | int | float | bool]:
    """What a simulated site is opened by."""
    places = {"manifest": str(site.manifest), "store": str(site.store)}
    return {"site": site.name, "device": "cpu", **places}


def test_the_last_step_trains_its_groups_alone(
    own_models: Done, built_sites: list[SiteSettings]
) -> None:
    """Heads by default: the norm of what moves below them is zero, and the heads move."""
    folder, result, _ = own_models
    site = Site.open(opened(built_sites[0]), OWN_MODELS)
    own = state(folder, "alpha", OWN_MODELS)
    models = dict(personal_models(site, OWN_MODELS, result.weights, own))
    tuned = to_arrays(models[Scored.LAST_STEP], ["encoder", "stf_net", "heads"])
    moved = {group_of(n) for n in tuned if not np.array_equal(tuned[n], result.weights[n])}
    assert moved == {"heads.ef", "heads.reduced_ef"}
    strange = SiteState(folder / "elsewhere", "run")
    assert not dict(personal_models(site, OWN_MODELS, result.weights, strange)), "never trained"
