"""Federations in which part of the model stays at each site."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from client.state import Own, SiteState
from echofm_core.contract import Weights, group_of
from echofm_core.models.build import build_echo_model
from echofm_core.models.local_names import local_names
from echofm_core.models.saved import load_model
from echofm_core.models.weights import load_arrays, named_weights, to_arrays
from echofm_core.plan.document import Plan
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


#: A drawn head's EF is near the population's mean, 55.8 %, within so much.
DRAWN = 1.0
FEDPER = personal_plan("heads", "stf_net")


@pytest.fixture(scope="module")
def fedper(built_sites: list[SiteSettings], tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("fedper")
    return folder, *federate(built_sites, FEDPER, folder)


def state(folder: Path, site: str, plan: Plan = FEDPER) -> SiteState:
    return SiteState(folder / "state" / site, plan.run_name())


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
        assert first.keys() == second.keys() == local_names(FEDPER)
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
    assert np.abs(ef - 55.8).max() > DRAWN


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
    assert np.abs(rows[rows["task"] == "ef"]["prediction"] - 55.8).max() < DRAWN
