"""Adapters on the encoder: where they sit, what they start as, and what they add."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from echofm_core.contract import (
    ENCODER,
    HEADS,
    LOCAL_LORA_A,
    LOCAL_LORA_B,
    LORA_A,
    LORA_B,
    STF_NET,
    group_of,
)
from echofm_core.models.build import build_echo_model, build_tuned_model
from echofm_core.models.echo_model import EchoModel
from echofm_core.models.lora import adapter_parameters, merged, require_adapters
from echofm_core.models.weights import load_arrays, named_weights, to_arrays
from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_mapping
from echofm_core.runtime.errors import EnvironmentClashError, PlanError
from tests.models.small import generator, small_plan, times, videos

ALL = [ENCODER, LORA_A, LORA_B, STF_NET, HEADS]
#: A scale of 24 / 4 = 6, which is neither 1 nor 2.
EVERYWHERE = {"rank": 4, "alpha": 24, "targets": ["qkv", "proj", "fc1", "fc2"]}


def lora_plan(seed: int = 3, local_rank: int = 0, **lora: object) -> Plan:
    values = small_plan(seed=seed).decisive()
    values["finetune"] |= {"mode": "lora", "lora": lora}
    values["personal"] = {"lora_rank": local_rank}
    return plan_from_mapping(values, "of a test")


def trained(plan: Plan) -> EchoModel:
    """A model whose adapters say something: B drawn too."""
    model = build_tuned_model(plan)
    for name, parameter in named_weights(model).items():
        if group_of(name) in (LORA_B, LOCAL_LORA_B):
            torch.nn.init.normal_(parameter, std=0.05, generator=generator())
    return model.eval()


LOCAL = [LOCAL_LORA_A, LOCAL_LORA_B]


def test_a_local_adapter_is_a_second_one_of_its_own_rank_and_changes_nothing_at_first() -> None:
    """A of the first is drawn as without it; outputs are those of no adapter, to the bit."""
    one, two = (build_tuned_model(lora_plan(local_rank=rank, **EVERYWHERE)) for rank in (0, 3))
    arrays = to_arrays(two, ALL)
    assert all(np.array_equal(array, arrays[name]) for name, array in to_arrays(one, ALL).items())
    local = to_arrays(two, LOCAL)
    assert len(local) == 2 * 4 * 4
    assert local["local_lora_a.blocks.2.attn.qkv.weight"].shape == (3, 128)
    assert local["local_lora_b.blocks.2.attn.qkv.weight"].shape == (384, 3)
    assert all(array.any() == (group_of(name) == LOCAL_LORA_A) for name, array in local.items())
    plain = build_echo_model(lora_plan()).eval()
    with torch.no_grad():
        expected, found = (model.eval()(videos(2), times(2), None) for model in (plain, two))
    assert all(torch.equal(expected[task], found[task]) for task in expected)


def test_what_both_adapters_add_is_summed() -> None:
    """Of one layer, by NumPy in float64: x (W + 24 / 4 * B A + 24 / 3 * B' A')^T + b."""
    model = trained(lora_plan(local_rank=3, **EVERYWHERE))
    every = to_arrays(model, [*ALL, *LOCAL])
    arrays = {name: array.astype(np.float64) for name, array in every.items()}
    x = torch.randn(5, 128, generator=generator())
    layer = "blocks.1.attn.qkv"
    weight = arrays[f"encoder.{layer}.weight"]
    for scale, kind in ((6, "lora"), (8, "local_lora")):
        weight = (
            weight + scale * arrays[f"{kind}_b.{layer}.weight"] @ arrays[f"{kind}_a.{layer}.weight"]
        )
    expected = x.numpy().astype(np.float64) @ weight.T + arrays[f"encoder.{layer}.bias"]
    with torch.no_grad():
        found = model.encoder.blocks[1].attn.qkv(x).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    plain = merged(every, lora_plan(**EVERYWHERE).finetune.lora)
    np.testing.assert_allclose(plain[f"encoder.{layer}.weight"], weight, rtol=0, atol=1e-6)
    assert plain.keys() == to_arrays(build_echo_model(lora_plan()), ALL).keys()


def test_with_fresh_adapters_the_model_is_the_one_without_to_the_bit() -> None:
    plan = lora_plan(**EVERYWHERE)
    plain, tuned = build_echo_model(plan).eval(), build_tuned_model(plan).eval()
    with torch.no_grad():
        expected, found = (model(videos(2), times(2), None) for model in (plain, tuned))
    assert all(torch.equal(expected[task], found[task]) for task in expected)


def test_names_and_shapes_are_those_of_the_layers_and_of_no_library() -> None:
    """The tiny encoder is 128 wide and 4 deep, so qkv is 384 x 128."""
    plain = to_arrays(build_echo_model(lora_plan()), ALL)
    tuned = to_arrays(build_tuned_model(lora_plan(rank=4)), ALL)
    layers = [
        f"blocks.{block}.attn.{layer}.weight" for block in range(4) for layer in ("qkv", "proj")
    ]
    assert set(tuned) == {
        *plain,
        *(f"{group}.{name}" for group in (LORA_A, LORA_B) for name in layers),
    }
    assert tuned["lora_a.blocks.2.attn.qkv.weight"].shape == (4, 128)
    assert tuned["lora_b.blocks.2.attn.qkv.weight"].shape == (384, 4)
    assert all(np.array_equal(tuned[name], array) for name, array in plain.items())


def test_the_seed_alone_decides_the_adapters() -> None:
    def drawn(seed: int) -> dict[str, np.ndarray]:
        return to_arrays(build_tuned_model(lora_plan(seed)), [LORA_A, LORA_B])

    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    first = drawn(3)
    assert torch.rand(1) == expected, "nobody else's stream was used"
    second, other = drawn(3), drawn(4)
    for name, array in first.items():
        assert np.array_equal(array, second[name])
        if group_of(name) == LORA_B:
            assert not array.any()
        else:
            assert not np.array_equal(array, other[name])
            assert 0.9 < np.abs(array).max() * np.sqrt(array.shape[1]) <= 1


def test_a_layer_computes_w_plus_alpha_over_rank_times_b_a() -> None:
    """Of one layer, by NumPy in float64: x (W + 24 / 4 * B A)^T + b."""
    model = trained(lora_plan(**EVERYWHERE))
    arrays = {name: array.astype(np.float64) for name, array in to_arrays(model, ALL).items()}
    x = torch.randn(5, 128, generator=generator())
    layer = "blocks.1.attn.qkv"
    weight = arrays[f"encoder.{layer}.weight"]
    weight = weight + 6 * arrays[f"lora_b.{layer}.weight"] @ arrays[f"lora_a.{layer}.weight"]
    expected = x.numpy().astype(np.float64) @ weight.T + arrays[f"encoder.{layer}.bias"]
    with torch.no_grad():
        found = model.encoder.blocks[1].attn.qkv(x).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_merged_it_predicts_the_same() -> None:
    plan = lora_plan(**EVERYWHERE)
    model, plain = trained(plan), build_echo_model(plan).eval()
    with torch.no_grad():
        before, expected = plain(videos(3), times(3), None), model(videos(3), times(3), None)
        load_arrays(plain, merged(to_arrays(model, ALL), plan.finetune.lora))
        found = plain(videos(3), times(3), None)
        features = [each.encoder(videos(3)) for each in (model, plain)]
    torch.testing.assert_close(features[1], features[0], rtol=1e-5, atol=1e-5)
    for task, output in expected.items():
        torch.testing.assert_close(found[task], output, rtol=1e-5, atol=1e-5)
        assert (before[task] - output).abs().max() > 1e-3, "the adapters do say something"


def test_weights_without_adapters_are_merged_as_they_are() -> None:
    plain = to_arrays(build_echo_model(lora_plan()), ALL)
    same = merged(plain, lora_plan().finetune.lora)
    assert set(same) == set(plain) and all(same[name] is array for name, array in plain.items())


@pytest.mark.parametrize("targets", [["qkv"], ["fc1", "proj"], EVERYWHERE["targets"]])
def test_adapters_are_counted_without_being_made(targets: list[str]) -> None:
    plan = lora_plan(rank=3, targets=targets)
    arrays = to_arrays(build_tuned_model(plan), [LORA_A, LORA_B])
    counted = adapter_parameters(build_echo_model(plan).encoder, plan.finetune.lora)
    assert counted == sum(array.size for array in arrays.values())


def test_without_peft_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    build_tuned_model(small_plan())
    require_adapters(small_plan().finetune)
    for wanted in (build_tuned_model, lambda plan: require_adapters(plan.finetune)):
        with pytest.raises(EnvironmentClashError, match=r"pip install 'peft>=0.17'"):
            wanted(lora_plan())


@pytest.mark.parametrize(
    ("lora", "sentence"),
    [
        ({"rank": 129}, "finetune.lora.rank 129 is above the encoder's width 128"),
        ({"targets": []}, "at least one layer"),
        ({"targets": ["qkv", "qkv"]}, "each only once"),
        ({"targets": ["norm1"]}, "`finetune.lora.targets`"),
        ({"alpha": 0}, "`finetune.lora.alpha`"),
    ],
)
def test_a_wrong_table_is_refused(lora: dict[str, object], sentence: str) -> None:
    with pytest.raises(PlanError, match=sentence):
        lora_plan(**lora)
