"""Methods whose sites are tested with models of their own."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from client.state import predictions_file
from echofm_core.contract import Scored
from echofm_core.evaluation import model_names
from echofm_core.runtime.errors import FederationError, PlanError
from echofm_core.training.personal import PersonalConfig
from simulations.arm_predictions import own_models, predictions_of
from simulations.methods import METHODS
from tests.simulations.methods.test_contract import PRIVATE, predictions, setting, starts

TUNING = {"rounds": 3, "local_steps": 10}


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("fedper", {"groups": ("heads", "stf_net")}),
        ("fedrep", {"groups": ("heads", "stf_net"), "alternate_steps": 5}),
        ("local_norms", {"groups": ("norms",)}),
        ("ditto", {"ditto": 0.1}),
        ("last_step", {"last_steps": 10}),
    ],
)
def test_a_method_is_its_table_and_the_plans_pre_training(
    name: str, table: dict[str, object]
) -> None:
    here = setting()
    (piece,) = METHODS[name].pieces(here)
    assert piece.plan.personal == PersonalConfig(**table)
    assert starts(name, here) == starts("fedavg", here)


def test_the_plans_own_numbers_are_taken() -> None:
    table = {"groups": ["heads"], "alternate_steps": 3}
    (piece,) = METHODS["fedrep"].pieces(setting(personal=table, finetune=TUNING))
    assert piece.plan.personal.alternate_steps == 3
    last = {"last_steps": 4, "last_groups": "all", "last_learning_rate": 0.01}
    (piece,) = METHODS["last_step"].pieces(setting(personal=last, finetune=TUNING))
    assert piece.plan.personal == PersonalConfig(**last)


@pytest.mark.parametrize("work", [{"local_epochs": 2}, {"local_steps": 1}])
def test_fedrep_without_steps_to_share_out_is_left_out_and_never_fedper(
    work: dict[str, int],
) -> None:
    """With no step of a round for what stays, FedRep's plan would be FedPer's."""
    here = setting(finetune={"rounds": 3, **work})
    with pytest.raises(PlanError, match="fedrep needs 2 steps in a round"):
        METHODS["fedrep"].pieces(here)
    assert METHODS["fedper"].pieces(here)


def test_what_is_personal_is_of_no_site_alone_and_of_no_pre_training() -> None:
    """One site's whole model is its own, and is tested at others; a plan that says so is valid."""
    here = setting(personal={"groups": ["heads"]}, finetune=TUNING)
    for name in ("local", "pooled"):
        for piece in METHODS[name].pieces(here):
            assert piece.plan.personal == PersonalConfig()
    (piece,) = METHODS["fedavg"].pieces(here)
    assert piece.plan.personal.groups and piece.start
    assert piece.start.plan.personal == PersonalConfig()


def test_privacy_covers_no_steps_without_noise() -> None:
    for name in ("ditto", "last_step", "fedrep"):
        with pytest.raises(PlanError, match=r'but privacy\.kind is "local"'):
            METHODS[name].pieces(setting(privacy=PRIVATE))
    assert METHODS["fedper"].pieces(setting(privacy=PRIVATE))


def test_names_in_files_are_those_on_the_wire() -> None:
    assert model_names.PERSONAL == Scored.PERSONAL and model_names.LAST_STEP == Scored.LAST_STEP
    (piece,) = METHODS["ditto"].pieces(setting())
    assert own_models(piece.plan) == ("personal",) and piece.arm.tested == "personal"


@pytest.mark.parametrize(("name", "key"), [("ditto", "ditto"), ("last_step", "last_steps")])
def test_a_sites_own_model_is_not_read_from_the_training_of_the_shared_one(
    name: str, key: str
) -> None:
    """Where the plan has Ditto, FedAvg trains by the same plan; each keeps what it is tested by."""
    here = setting(personal={key: 5}, finetune=TUNING)
    (shared,), (own,) = METHODS["fedavg"].pieces(here), METHODS[name].pieces(here)
    assert shared.plan.personal == own.plan.personal
    assert (shared.arm.tested, own.arm.tested != "") == ("", True)
    assert shared.key("data") != own.key("data")


def test_a_site_without_a_model_of_its_own_is_left_out(tmp_path: Path) -> None:
    """Of A, B and C, C did not train; a site that was not tested at all is an error."""
    (piece,) = METHODS["ditto"].pieces(setting())
    run = piece.plan.run_name()
    sites = piece.arm.test
    for number, site in enumerate(sites):
        home = tmp_path / "sites" / site / run
        home.mkdir(parents=True)
        predictions(site, 1.0).to_parquet(home / predictions_file())
        if number < len(sites) - 1:
            predictions(site, 2.0).to_parquet(home / predictions_file("personal"))
    rows = predictions_of(piece.arm, tmp_path, piece.plan)
    assert isinstance(rows, pd.DataFrame)
    assert list(rows["site"]) == list(sites[:-1]) and set(rows["prediction"]) == {2.0}
    assert set(rows["model"]) == {"ditto"}
    (tmp_path / "sites" / sites[-1] / run / predictions_file()).unlink()
    with pytest.raises(FederationError, match="was not tested"):
        predictions_of(piece.arm, tmp_path, piece.plan)
