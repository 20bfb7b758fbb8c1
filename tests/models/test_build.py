"""A plan's seed alone decides the initial weights."""

import pytest
import torch
from torch import nn

from echofm_core.models.build import (
    anatomy_of,
    build_autoencoder,
    build_echo_model,
    count,
    initialise,
    parameters_by_group,
)
from echofm_core.models.config import StfNetForm
from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_mapping
from tests.models.small import generator, small_plan
from tests.support.commands import Echofm


def same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    return all(torch.equal(mine, other) for mine, other in pairs)


@pytest.mark.parametrize("build", [build_autoencoder, build_echo_model])
@pytest.mark.parametrize("form", list(StfNetForm))
def test_the_global_generator_neither_matters_nor_moves(build, form: StfNetForm) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(1)
    first = build(small_plan(form))
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second = build(small_plan(form))
    assert torch.equal(torch.get_rng_state(), state)
    assert same(first, second)
    assert not same(first, build(small_plan(form, seed=4)))


@pytest.mark.parametrize("form", list(StfNetForm))
def test_both_phases_start_from_the_same_encoder(form: StfNetForm) -> None:
    encoder = build_autoencoder(small_plan()).encoder
    assert same(encoder, build_echo_model(small_plan(form)).encoder)


def test_a_head_starts_the_same_whichever_others_there_are() -> None:
    plan = small_plan()
    alone = plan.model_copy(
        update={"finetune": plan.finetune.model_copy(update={"tasks": plan.finetune.tasks[2:]})}
    )
    heads = build_echo_model(plan).heads
    assert same(heads["as_grade"], build_echo_model(alone).heads["as_grade"])


def test_a_layer_without_a_rule_is_refused() -> None:
    with pytest.raises(TypeError, match="Bilinear"):
        initialise(nn.Sequential(nn.Bilinear(2, 2, 2)), generator())


def base(form: StfNetForm = StfNetForm.COMPACT) -> Plan:
    return plan_from_mapping(
        {"data": {"size": 224, "frames": 16}, "model": {"size": "base", "stf_net": form}}, "base"
    )


def test_the_base_encoder_is_a_vit_b() -> None:
    """Twelve blocks of 12 D^2 + 13 D, a patch embedding of 512 D + D, a last norm of 2 D."""
    width = 768
    expected = 12 * (12 * width**2 + 13 * width) + 513 * width + 2 * width
    assert anatomy_of(base()).groups["encoder"] == expected
    assert round(expected / 1e6) == 85  # 86.2 M with the three colour channels of VideoMAE


def test_the_published_stf_net_counts_as_reported() -> None:
    """Parts as reported for the released code: 115.6 + 4.57 + 1.92 + 2 x 1.57 + 1.18 M = 126.4 M.

    Right axes hold no weights, and a group norm has as many as a batch norm.
    """
    published = anatomy_of(base()).forms[StfNetForm.PUBLISHED]
    parts = 115.6 + 4.57 + 1.92 + 2 * 1.57 + 1.18
    assert published / 1e6 == pytest.approx(parts, abs=0.05)
    assert f"{published / 1e6:.1f}" == "126.4"


def test_the_compact_stf_net_stays_under_eight_million() -> None:
    assert 1e6 < anatomy_of(base()).forms[StfNetForm.COMPACT] < 8e6


def test_adapters_of_the_base_encoder() -> None:
    """Rank 8, twelve blocks, on qkv (768 to 2304) and proj (768 to 768)."""
    anatomy = anatomy_of(base())
    assert anatomy.adapters == 8 * 12 * (768 + 2304 + 768 + 768)
    assert anatomy.below == 12 * 768 * (2304 + 768)


def test_mean_pooling_has_no_parameters() -> None:
    assert anatomy_of(base()).forms[StfNetForm.MEAN_POOL] == 0
    assert "stf_net" not in anatomy_of(base(StfNetForm.MEAN_POOL)).groups


def test_counting_without_memory_agrees_with_a_model_that_has_some() -> None:
    plan = small_plan()
    groups = anatomy_of(plan).groups
    assert sum(groups.values()) - groups["decoder"] == count(build_echo_model(plan))
    assert parameters_by_group(build_autoencoder(plan)) == {
        name: groups[name] for name in ("encoder", "decoder")
    }


def test_85_percent_leaves_240_of_1568_tokens() -> None:
    """196 - 166 = 30 positions in each of 8 slots."""
    anatomy = anatomy_of(base())
    assert (anatomy.grid.tokens, anatomy.hidden) == (1568, 166)


def test_the_command_prints_them(echofm: Echofm) -> None:
    result = echofm("model", "--size", "base", "--stf-net", "published")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    for words in (
        ("encoder", "85.45 M", "341.8", "170.9"),
        ("stf_net", "126.43 M", "505.7", "252.9"),
        ("fine-tuning, lora, rank 8", "126.90 M"),
        ("fine-tuning, full", "211.91 M", "847.6"),
        ("as published, before correction", "126.4 M"),
        ("compact", "6.4 M"),
        ("8 x 14 x 14 = 1568",),
        ("85%: 166 of 196 positions", "240 tokens"),
    ):
        assert any(all(word in line for word in words) for line in lines), words


def test_the_command_refuses_what_cannot_be_cut(echofm: Echofm) -> None:
    result = echofm("model", "--pixels", 64, "--patch", 24)
    assert result.returncode == 10
    assert "data.size 64 is not a multiple of model.patch 24" in result.stderr
