"""Numbers that an aggregation rule asks of real sites: their steps, their loss before training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from client.policy import OPEN, Policy
from client.request import Request
from client.site import Site
from client.state import SiteState
from client.training import train
from echofm_core.contract import ENCODER, HEADS, STF_NET, Action, Instruction
from echofm_core.data.manifest import load_manifest, save_manifest
from echofm_core.models.build import build_echo_model
from echofm_core.models.weights import to_arrays
from echofm_core.plan.document import Plan
from echofm_core.runtime.errors import FederationError, PolicyError
from server.rounds import run_federation
from simulations.engine import Engine, SiteSettings
from tests.federation.small import small_plan, with_states


def entries(sites: list[SiteSettings], plan: Plan, folder: Path) -> list[dict[str, Any]]:
    """The journal of a run over these sites."""
    with Engine(1) as engine:
        grid = engine.grid(with_states(sites, folder / "states"))
        run_federation(grid, plan, folder / "run")
    paths = sorted((folder / "run/journal").glob("finetune-*.json"))
    return [json.loads(path.read_text()) for path in paths]


def plan_of(aggregation: str, **finetune: Any) -> Plan:
    return small_plan(
        pretrain={"rounds": 0}, finetune=finetune, federation={"aggregation": aggregation}
    )


def validating(site: SiteSettings, folder: Path) -> SiteSettings:
    """A site whose last training patient is held out."""
    rows = load_manifest(site.manifest)
    rows.loc[rows.index[rows["split"] == "train"][-1], "split"] = "val"
    path = folder / f"{site.name}.parquet"
    save_manifest(rows, path)
    return SiteSettings(name=site.name, manifest=path, store=site.store, state=site.state)


def test_fednova_is_told_the_steps_of_each_site(
    built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    """A pass over 4, 3 and 2 clips in batches of 2."""
    (entry,) = entries(built_sites, plan_of("fednova", rounds=1, local_steps=0), tmp_path)
    found = {site: part["metrics"]["local_steps"] for site, part in entry["sites"].items()}
    assert found == {"alpha": 2.0, "beta": 2.0, "gamma": 1.0} and not entry["refused"]


def test_q_fedavg_is_told_the_loss_of_the_model_that_was_sent(
    built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    """What a site reports in round 2 is what it found of the result of round 1.

    gamma has no validation patients: it is named, and the round goes on without it.
    """
    sites = [*(validating(site, tmp_path) for site in built_sites[:2]), built_sites[2]]
    first, second = entries(sites, plan_of("qfedavg"), tmp_path)
    reported = {site: part["metrics"]["global_loss"] for site, part in second["sites"].items()}
    assert reported == first["validation"] and set(reported) == {"alpha", "beta"}
    assert "no validation patients with a label for finetune" in first["refused"]["gamma"]


@pytest.mark.parametrize(
    ("policy", "error", "sentence"),
    [
        (OPEN, FederationError, "alpha has no validation patients with a label"),
        (Policy(metrics=("loss",), min_patients=1), PolicyError, "let validation leave"),
    ],
)
def test_a_site_that_cannot_or_will_not_tell_its_loss_does_not_train(
    policy: Policy,
    error: type[Exception],
    sentence: str,
    built_sites: list[SiteSettings],
    tmp_path: Path,
) -> None:
    built, plan = built_sites[0], plan_of("qfedavg")
    paths = {"manifest": str(built.manifest), "store": str(built.store)}
    instruction = Instruction(
        action=Action.FINETUNE,
        round=1,
        plan=plan.to_json(),
        plan_hash=plan.digest(),
        run="run",
        weights=to_arrays(build_echo_model(plan), [ENCODER, STF_NET, HEADS]),
    )
    site, state = Site.open({"site": "alpha", **paths}, plan), SiteState(tmp_path, "run")
    with pytest.raises(error, match=sentence):
        train(Request(instruction, plan, site, state, policy))
