"""A plan's seed alone decides the initial weights."""

import pytest
import torch
from torch import nn

from echofm_core.models.build import build_autoencoder, build_echo_model, initialise
from echofm_core.models.config import StfNetForm
from tests.models.small import generator, small_plan


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
