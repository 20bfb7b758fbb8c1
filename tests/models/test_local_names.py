"""What stays at a site, by name."""

from __future__ import annotations

import pytest

from echofm_core.contract import group_of
from echofm_core.models.build import build_tuned_model
from echofm_core.models.local_names import local_names, local_sizes
from echofm_core.models.weights import named_weights
from tests.federation.small import small_plan


def names(*groups: str, mode: str = "full") -> frozenset[str]:
    return local_names(small_plan(personal={"groups": groups}, finetune={"mode": mode}))


def test_nothing_stays_by_default() -> None:
    assert local_names(small_plan()) == frozenset()


def test_groups_stay_whole() -> None:
    every = named_weights(build_tuned_model(small_plan()))
    own = names("heads", "stf_net")
    assert own == {name for name in every if not name.startswith("encoder.")}
    assert {group_of(name) for name in names("heads")} == {
        "heads.ef",
        "heads.reduced_ef",
        "heads.as_grade",
    }


def test_norms_are_those_of_encoder_and_stf_net() -> None:
    """Of each of the four blocks of the tiny encoder two norms, and its last: 9 weights and biases.
    Those of heads are no norms here; a linear layer of the same shape is none either.
    """
    found = names("norms")
    encoder = {name for name in found if name.startswith("encoder.")}
    assert len(encoder) == 2 * (4 * 2 + 1)
    assert "encoder.blocks.3.norm2.bias" in found and "encoder.norm.weight" in found
    assert "stf_net.disjoint.time_norm.weight" in found
    assert "stf_net.joint.reduce.bias" not in found
    assert not [name for name in found if name.startswith("heads.")]


def test_local_adapters_stay_and_federated_ones_do_not() -> None:
    """Names and sizes are those of the model that is trained: qkv and proj of four blocks."""
    plan = small_plan(personal={"lora_rank": 3}, finetune={"mode": "lora"})
    every = named_weights(build_tuned_model(plan))
    expected = {name: item.numel() for name, item in every.items() if name.startswith("local_lora")}
    assert local_sizes(plan) == expected and len(expected) == 2 * 2 * 4
    both = small_plan(personal={"lora_rank": 3, "groups": ["heads"]}, finetune={"mode": "lora"})
    assert local_names(both) == {*expected, *names("heads")}


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_they_are_names_of_the_wire(mode: str) -> None:
    """With adapters too, whose library renames what it wraps."""
    model = build_tuned_model(small_plan(finetune={"mode": mode}))
    assert names("heads", "norms", mode=mode) <= named_weights(model).keys()
