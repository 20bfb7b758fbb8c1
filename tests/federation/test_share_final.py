"""What stays at the sites, sent once after the last round where the plan says so."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from client.state import Own
from echofm_core.contract import SHARE, TRAIN, Action, Instruction, Phase, group_of
from echofm_core.data.manifest import load_manifest, save_manifest
from echofm_core.data.store.clip_store import open_stores
from echofm_core.data.windows import ClipWindows
from echofm_core.models.build import build_echo_model
from echofm_core.models.local_names import local_names
from echofm_core.models.saved import load_model
from echofm_core.models.weights import load_arrays, to_arrays
from echofm_core.plan.document import Plan
from echofm_core.post_processing import post_processing
from echofm_core.tasks import Task
from echofm_core.training.predict import predict
from server.evaluation import evaluate_sites
from server.release.what_left import sites_of
from server.wire import to_message, wired
from simulations.engine import Engine, SiteSettings
from tests.federation.small import NAMES, TEST, small_plan, with_states
from tests.federation.test_personal import DRAWN, Done, state
from tests.federation.wiretap import federate, groups

TRAINED = "train.finetune"


def plan_of(*, share: bool = True, weights: str = "equal") -> Plan:
    return small_plan(
        pretrain={"rounds": 0},
        personal={"groups": ["heads", "stf_net"], "share_final": share},
        federation={"trunk_weights": weights},
    )


PLAN = plan_of()


@pytest.fixture(scope="module")
def done(built_sites: list[SiteSettings], tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("final")
    return folder, *federate(built_sites, PLAN, folder)


def test_it_leaves_once_after_the_last_round(done: Done) -> None:
    """Two rounds of the encoder, then the rest, by a message that trains nothing."""
    _, _, tap = done
    assert groups(tap.returned, "arrays", "1") == groups(tap.returned, "arrays", "2") == {"encoder"}
    last = [row for row in tap.returned if row[:2] == (TRAINED, "3") and row[3]]
    assert len(last) == len(NAMES)
    heads = {name for row in last for name in row[3] if group_of(name) == "heads.as_grade"}
    assert heads, "gamma's"
    assert not [name for row in last for name in row[3] if group_of(name) == "encoder"]
    asked = [numbers for numbers in tap.numbers[TRAINED, "3"] if SHARE in numbers]
    assert asked == [{TRAIN: 0.0, SHARE: 1.0}] * len(NAMES)  # others validate the last round


def test_the_shipped_model_has_the_mean_of_the_sites(done: Done) -> None:
    """Of 4 and 3 clips with an EF, heads count 4 / 7 and 3 / 7; the grade is gamma's alone; the
    STF-Net of each site counts alike.
    """
    folder, result, _ = done
    own = {name: state(folder, name, PLAN).own(Own.LOCAL, 3) for name in NAMES}
    shares = {
        "heads.ef.linear.weight": {"alpha": 4 / 7, "beta": 3 / 7},
        "heads.as_grade.linear.bias": {"gamma": 1.0},
        "stf_net.joint.reduce.weight": dict.fromkeys(NAMES, 1 / 3),
    }
    for name, parts in shares.items():
        mean = sum(part * own[site][name].astype(np.float64) for site, part in parts.items())
        np.testing.assert_allclose(result.weights[name], mean, atol=1e-6)
    assert set(load_model(folder / "run").tasks) == {Task.EF, Task.REDUCED_EF, Task.AS_GRADE}


def test_the_rounds_are_those_without_it(done: Done, built_sites: list[SiteSettings],
                                         tmp_path: Path) -> None:  # fmt: skip
    """Scores at the sites too: each is tested with its own."""
    _, result, _ = done
    other, _ = federate(built_sites, plan_of(share=False), tmp_path)
    encoders = [
        {name: array for name, array in found.weights.items() if name.startswith("encoder.")}
        for found in (result, other)
    ]
    assert all(np.array_equal(encoders[0][name], encoders[1][name]) for name in encoders[1])
    assert repr([it.scores for it in result.site_results]) == repr(
        [it.scores for it in other.site_results]
    )


def test_a_site_that_did_not_train_has_the_mean(
    done: Done, built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    _, result, _ = done
    with Engine() as engine:
        grid = engine.grid(with_states(built_sites[:1], tmp_path))
        evaluate_sites(grid, PLAN, result.weights)
    rows = pd.read_parquet(tmp_path / "alpha" / PLAN.run_name() / "predictions.parquet")
    assert np.abs(rows[rows["task"] == "ef"]["prediction"] - 55).max() > DRAWN


def test_a_site_has_the_mean_of_a_head_that_it_could_not_train(
    done: Done, built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    """Alpha, tested again with the grades of stenosis that it had not while it trained, reads them
    as the shipped head does, on its own STF-Net."""
    folder, result, _ = done
    kept = shutil.copytree(folder / "state" / "alpha", tmp_path / "alpha")
    rows = load_manifest(built_sites[0].manifest)
    rows["as_grade"] = rows["as_grade"].mask(rows["split"] == "test", 2)
    save_manifest(rows, tmp_path / "graded.parquet")
    (site,) = with_states(built_sites[:1], tmp_path)
    with Engine() as engine:
        grid = engine.grid([replace(site, manifest=tmp_path / "graded.parquet")])
        evaluate_sites(grid, PLAN, result.weights)
    found = pd.read_parquet(kept / PLAN.run_name() / "predictions.parquet")
    found = found[found["task"] == "as_grade"]
    own = state(folder, "alpha", PLAN).own(Own.LOCAL, 3)
    trained = {name: it for name, it in own.items() if group_of(name) != "heads.as_grade"}
    model = build_echo_model(PLAN)
    load_arrays(model, {**result.weights, **trained})
    clips = ClipWindows(open_stores(built_sites[0].store), rows[rows["split"] == "test"], PLAN.data)
    expected = predict(model, clips, PLAN.finetune, batch_size=2, device="cpu")
    expected = expected[expected["task"] == "as_grade"]
    assert len(found) == TEST
    np.testing.assert_array_equal(found["p2"], expected["p2"])


def test_what_left_names_it(done: Done) -> None:
    folder, _, _ = done
    kept = json.loads((folder / "run/share-final.json").read_text())
    assert set(kept["sites"]) == set(NAMES) and not kept["refused"]
    answers = sites_of(folder / "run", PLAN)["alpha"].answers
    (last,) = [answer for answer in answers if "had stayed" in answer.when]
    assert dict(last.groups) == {"stf_net": 4, "heads.ef": 4, "heads.reduced_ef": 4}
    own = state(folder, "alpha", PLAN).own(Own.LOCAL, 3)
    sent = [array.nbytes for name, array in own.items() if group_of(name) in last.groups]
    assert last.bytes == sum(sent)


@pytest.mark.parametrize(("plan", "number"), [(PLAN, 2), (plan_of(share=False), 3)])
def test_a_site_sends_it_neither_before_the_end_nor_where_the_plan_keeps_it(
    done: Done, built_sites: list[SiteSettings], plan: Plan, number: int
) -> None:
    names = local_names(plan)
    drawn = to_arrays(build_echo_model(plan), {group_of(name) for name in names})
    asked = Instruction(
        action=Action.FINETUNE,
        round=number,
        plan=plan.to_json(),
        plan_hash=plan.digest(),
        run=plan.run_name(),
        settings={TRAIN: 0.0, SHARE: 1.0},
    )
    record = wired(dict(drawn), post_processing(plan.federation)).record
    assert asked.phase is Phase.FINETUNE
    with Engine() as engine:
        grid = engine.grid(with_states(built_sites[:1], done[0] / "state"))
        (reply,) = grid.send_and_receive([to_message(asked, record, 1, 60.0)])
    assert reply.has_error() and "it stays here" in reply.error.reason
