"""Variations as plans, and which trainings they share; nothing is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from echofm_core.data.findings import Findings
from echofm_core.data.prepare import Prepared
from echofm_core.models.config import StfNetForm, StfPart
from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_mapping
from echofm_core.runtime.errors import PlanError
from simulations.study.cells import cell_of, settings
from simulations.study.variations import PLAIN, variations
from tests.simulations.test_arms import manifest


def varying(**vary: list[object]) -> Plan:
    keys = {key.replace("__", "."): values for key, values in vary.items()}
    return plan_from_mapping({"pretrain": {"rounds": 2}, "study": {"vary": keys}}, "test")


def test_without_values_there_is_the_plan_as_it_is() -> None:
    plan = Plan()
    assert variations(plan) == [PLAIN] and PLAIN.of(plan) is plan
    assert (PLAIN.folder, PLAIN.sentence, PLAIN.words) == ("", "", {})


def test_every_combination_is_a_plan_with_a_folder_of_its_own() -> None:
    plan = varying(
        finetune__label_fraction=[0.1, 1], model__stf_without=[[], ["deviation", "grey"]]
    )
    found = variations(plan)
    assert [item.folder for item in found] == [
        "label_fraction-0.1+stf_without-none",
        "label_fraction-0.1+stf_without-deviation_grey",
        "label_fraction-1+stf_without-none",
        "label_fraction-1+stf_without-deviation_grey",
    ]
    last = found[1].of(plan)
    assert last.finetune.label_fraction == 0.1
    assert last.model.stf_without == (StfPart.DEVIATION, StfPart.GREY)
    assert last.study == plan.study and last.machine == plan.machine
    assert last.digest() != plan.digest() == found[2].of(plan).digest()


def test_keys_that_belong_together_are_a_table() -> None:
    plan = varying(model=[{}, {"stf_net": "mean_pool"}, {"stf_without": ["joint"], "patch": 8}])
    found = variations(plan)
    assert [item.folder for item in found] == [
        "model-as_it_is",
        "model-stf_net_mean_pool",
        "model-stf_without_joint_patch_8",
    ]
    assert found[0].of(plan).digest() == plan.digest()
    assert found[1].of(plan).model.stf_net is StfNetForm.MEAN_POOL
    assert found[2].of(plan).model.patch == 8


@pytest.mark.parametrize(
    ("vary", "expected"),
    [
        ({"data__size": [32, 64]}, "'data.size' is no key that a study can vary: write TABLE.KEY"),
        ({"finetune": [1]}, "'finetune' is no key"),
        ({"finetune__rounds": [1, 1]}, "values that are unlike each other"),
        ({"finetune__rounds": []}, "values that are unlike each other"),
        ({"finetune__raunds": [1]}, "unknown key `finetune.raunds`, did you mean `rounds`"),
        ({"finetune__label_fraction": [0.5, 2]}, "finetune.label_fraction"),
        ({"personal__groups": [["heads"], "heads"]}, "two values of study.vary are both written"),
    ],
)
def test_what_is_no_plan_is_refused(vary: dict[str, list[object]], expected: str) -> None:
    with pytest.raises(PlanError, match=expected):
        variations(varying(**vary))


def keys(plan: Plan, methods: list[str]) -> list[dict[str, str]]:
    """Of each variation: name of a training -> its key."""
    prepared = Prepared(manifest=manifest(), findings=Findings(), stores=Path("stores"))
    found = []
    for common, here, _ in settings(plan):
        cell = cell_of(here, Path("seed-0"), prepared, methods, common)
        found.append({piece.arm.name: key for key, piece in cell.pieces().items()})
    return found


def test_variations_of_fine_tuning_share_their_encoder() -> None:
    plan = varying(finetune__label_fraction=[0.5, 1], model__stf_without=[[], ["grey"]])
    every = keys(plan, ["fedavg"])
    assert len({item["pretraining:federated"] for item in every}) == 1
    assert len({item["fedavg"] for item in every}) == 4


def test_an_encoder_that_is_trained_otherwise_is_another() -> None:
    for name, values in (("pretrain__rounds", [1, 2]), ("model__patch", [16, 8])):
        every = keys(varying(**{name: values}), ["fedavg"])
        assert len({item["pretraining:federated"] for item in every}) == 2, name


def test_the_encoder_is_that_of_the_study_without_variations() -> None:
    (plain,) = keys(varying(), ["fedavg"])
    for item in keys(varying(finetune__label_fraction=[0.5, 1]), ["fedavg"]):
        assert item["pretraining:federated"] == plain["pretraining:federated"]
