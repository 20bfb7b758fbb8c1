from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from echofm_core.contract import Phase
from echofm_core.data.windows import ClipWindows
from echofm_core.models.build import build_autoencoder, build_echo_model, build_tuned_model
from echofm_core.models.weights import named_weights
from echofm_core.training.config import TuneMode
from echofm_core.training.objectives.finetune import finetune_round
from echofm_core.training.objectives.losses import Losses
from echofm_core.training.steps.job import Indices
from echofm_core.training.steps.loop import train
from echofm_core.training.steps.optimizer import (
    AveragedWeights,
    ProximalPull,
    RoundSchedule,
    build_optimizer,
    rate_shares,
    set_rate,
    trainable,
)
from tests.training.site import PLAN, changed, context, snapshot
from tests.training.steps.test_loop import PLAIN, Slope, job


def test_biases_norms_and_tokens_do_not_decay() -> None:
    model = build_autoencoder(PLAN)
    optimizer = build_optimizer(model, PLAN.pretrain, Phase.PRETRAIN)
    decay = {
        id(item): group["weight_decay"]
        for group in optimizer.param_groups
        for item in group["params"]
    }
    by_name = {name: decay[id(item)] for name, item in model.named_parameters()}
    assert by_name["encoder.blocks.0.attn.qkv.weight"] == 0.05
    assert by_name["encoder.blocks.0.attn.qkv.bias"] == 0
    assert by_name["encoder.norm.weight"] == 0
    assert by_name["decoder.mask_token.weight"] == 0


def test_one_step_by_hand() -> None:
    """AdamW's first step is rate * sign(gradient), after decaying by rate * decay.

    1 - 0.1 * 0.05 * 1 - 0.1 = 0.895 for the matrix, 1 - 0.1 = 0.9 for the bias.
    """
    layer = nn.Linear(1, 1)
    nn.init.ones_(layer.weight)
    nn.init.ones_(layer.bias)
    optimizer = build_optimizer(layer, PLAN.pretrain, Phase.PRETRAIN)
    set_rate(optimizer, 0.1)
    layer(torch.full((1, 1), 3.0)).sum().backward()
    optimizer.step()
    assert layer.weight.item() == pytest.approx(0.895)
    assert layer.bias.item() == pytest.approx(0.9)


def test_frozen_parameters_are_left_out() -> None:
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    optimizer = build_optimizer(layer, PLAN.pretrain, Phase.PRETRAIN)
    assert [item for group in optimizer.param_groups for item in group["params"]] == [layer.weight]
    assert list(trainable(layer)) == ["weight"]


#: The tiny encoder has four blocks; with decay 1/2, by hand.
SHARES = {
    "encoder.patch_embed.weight": 1 / 32,
    "encoder.blocks.0.norm1.bias": 1 / 16,
    "encoder.blocks.1.attn.qkv.weight": 1 / 8,
    "encoder.blocks.2.mlp.fc1.bias": 1 / 4,
    "encoder.blocks.3.mlp.fc2.weight": 1 / 2,
    "lora_a.blocks.1.attn.qkv.weight": 1 / 8,
    "lora_b.blocks.3.attn.proj.weight": 1 / 2,
    "encoder.norm.weight": 1,
    "stf_net.disjoint.time_blocks.0.attn.qkv.weight": 1,
    "heads.ef.linear.bias": 1,
}


def test_layers_learn_more_slowly_the_deeper_they_are() -> None:
    """AdamW's first step is as long as the rate, whatever the gradient: 0.01 times the share."""
    config = PLAN.finetune.model_copy(update={"layer_decay": 0.5, "weight_decay": 0.0})
    config = config.model_copy(update={"mode": TuneMode.LORA})
    model = build_tuned_model(PLAN.model_copy(update={"finetune": config}))
    optimizer = build_optimizer(model, config, Phase.FINETUNE)
    set_rate(optimizer, 0.01)
    before = {name: item.detach().clone() for name, item in named_weights(model).items()}
    for item in model.parameters():
        item.grad = torch.ones_like(item)
    optimizer.step()
    moved = {
        name: (before[name] - item).mean().item() for name, item in named_weights(model).items()
    }
    expected = {name: 0.01 * share for name, share in SHARES.items()}
    assert {name: moved[name] for name in SHARES} == pytest.approx(expected, rel=1e-3)


def test_depth_is_that_of_the_whole_encoder_even_if_a_part_is_frozen() -> None:
    names = [f"encoder.blocks.{block}.mlp.fc1.weight" for block in range(24)]
    shares = rate_shares([*names, "encoder.patch_embed.bias", "decoder.blocks.7.norm1.bias"], 0.75)
    assert shares[names[23]] == pytest.approx(0.75)
    assert shares[names[0]] == pytest.approx(0.75**24)
    assert shares["encoder.patch_embed.bias"] == pytest.approx(0.75**25)
    assert shares["decoder.blocks.7.norm1.bias"] == 1
    model = build_echo_model(PLAN)
    model.encoder.blocks[3].requires_grad_(False)
    config = PLAN.finetune.model_copy(update={"layer_decay": 0.5})
    optimizer = build_optimizer(model, config, Phase.FINETUNE)
    assert {group["rate_share"] for group in optimizer.param_groups} == {
        1 / 2**n for n in (0, 2, 3, 4, 5)
    }


def test_without_layer_decay_there_are_two_groups_at_the_full_rate() -> None:
    optimizer = build_optimizer(build_echo_model(PLAN), PLAN.finetune, Phase.FINETUNE)
    set_rate(optimizer, 0.3)
    found = [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups]
    assert found == [(0.3, 0.05), (0.3, 0.0)]


def test_values_by_hand() -> None:
    """Peak 8, warm-up 2 of 6 rounds: a line to (2, 8), then half a cosine over 4 rounds.

    Half way down (progress 4) the cosine is at its middle, 4; a quarter down (progress 3) at
    8 * (1 + cos(pi / 4)) / 2 = 4 + 2 * sqrt(2).
    """
    schedule = RoundSchedule(peak=8.0, warmup_rounds=2.0, rounds=6)
    assert schedule.at(0) == 0
    assert schedule.at(1) == 4
    assert schedule.at(2) == 8
    assert schedule.at(3) == pytest.approx(4 + 2 * math.sqrt(2))
    assert schedule.at(4) == pytest.approx(4)
    assert schedule.at(6) == pytest.approx(0)


def test_a_step_is_taken_at_its_middle_and_rounds_do_not_restart() -> None:
    """Round 2 with 4 steps: middles at 1.125, 1.375, ... of the same line to (2, 8)."""
    schedule = RoundSchedule(peak=8.0, warmup_rounds=2.0, rounds=6)
    assert [schedule.of_step(2, step, 4) for step in range(4)] == [4.5, 5.5, 6.5, 7.5]
    assert schedule.of_step(3, 0, 4) < 8
    assert schedule.of_step(6, 3, 4) > 0


def test_without_warmup_and_with_nothing_but_warmup() -> None:
    assert RoundSchedule(peak=1.0, warmup_rounds=0.0, rounds=2).at(0) == 1
    assert RoundSchedule(peak=1.0, warmup_rounds=2.0, rounds=2).at(2) == 1
    assert RoundSchedule(peak=1.0, warmup_rounds=4.0, rounds=2).at(2) == 0.5


@given(
    warmup=st.floats(0, 5),
    rounds=st.integers(1, 50),
    steps=st.integers(1, 9),
    data=st.data(),
)
def test_always_positive_and_never_above_the_peak(
    warmup: float, rounds: int, steps: int, data: st.DataObject
) -> None:
    round_ = data.draw(st.integers(1, rounds))
    step = data.draw(st.integers(0, steps - 1))
    rate = RoundSchedule(peak=1.0, warmup_rounds=warmup, rounds=rounds).of_step(round_, step, steps)
    assert 0 < rate <= 1


def test_gradient_by_hand() -> None:
    """mu / 2 * (w - w0)^2 with mu 0.5, w0 1 and w 3 has the slope 0.5 * 2 = 1."""
    weight = nn.Parameter(torch.tensor([1.0]))
    pull = ProximalPull([weight], mu=0.5)
    with torch.no_grad():
        weight.fill_(3.0)
    weight.grad = torch.tensor([10.0])
    pull.add()
    assert weight.grad.item() == 11.0


def test_gradient_equals_that_of_the_squared_norm() -> None:
    """Against autograd of 0.5 * mu * sum((w - w0)^2), on a network away from its start."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    start = copy.deepcopy(net)
    pull = ProximalPull(net.parameters(), mu=0.3)
    with torch.no_grad():
        for item in net.parameters():
            item.add_(torch.randn_like(item))
    data = torch.randn(5, 3)

    distance = sum(
        ((w - w0.detach()) ** 2).sum()
        for w, w0 in zip(net.parameters(), start.parameters(), strict=True)
    )
    (net(data).sum() + 0.5 * 0.3 * distance).backward()
    expected = [item.grad.clone() for item in net.parameters() if item.grad is not None]

    net.zero_grad()
    net(data).sum().backward()
    pull.add()
    for item, wanted in zip(net.parameters(), expected, strict=True):
        torch.testing.assert_close(item.grad, wanted)


def test_what_has_no_gradient_is_not_pulled() -> None:
    frozen = nn.Parameter(torch.zeros(1))
    pull = ProximalPull([frozen], mu=1.0)
    pull.add()
    assert frozen.grad is None


def test_by_hand() -> None:
    """Weights 1, 2, 4 with decay 1/2 count 1/4, 1/2, 1: 5.25 over 1.75 is 3."""
    weight = nn.Parameter(torch.zeros(1))
    average = AveragedWeights({"w": weight}, 0.5)
    for value in (1.0, 2.0, 4.0):
        weight.data.fill_(value)
        average.add()
    average.put()
    assert weight.item() == pytest.approx(3.0)


def test_after_one_step_it_is_the_weights_themselves_and_without_decay_nothing() -> None:
    weight = nn.Parameter(torch.tensor([0.1]))
    for decay in (0.999, 0.0):
        average = AveragedWeights({"w": weight}, decay)
        average.add()
        average.put()
        assert weight.item() == torch.tensor(0.1).item()
    assert not average.means


class Watched(Slope):
    """Writes down the weight that each step begins with, and whether it will be skipped."""

    def __call__(self, rows: Indices, rng: np.random.Generator, parts: int = 1) -> Iterator[Losses]:
        self.seen.append((self.model.weight.item(), np.isfinite(self.factors[rows[0]])))
        return super().__call__(rows, rng, parts)

    seen: ClassVar[list[tuple[float, bool]]] = []


def test_a_round_returns_the_mean_over_its_steps() -> None:
    """A step ends where the next one begins; a skipped step leaves no trace in the mean."""
    factors = [1.0, 2.0, float("nan"), 3.0]
    plain, averaged = job(factors, PLAIN), job(factors, PLAIN.model_copy(update={"ema": 0.8}))
    Watched.seen.clear()
    train(replace(plain, objective=Watched(plain.model, factors)))
    train(averaged)
    begins, taken = zip(*Watched.seen, strict=True)
    ends = [*begins[1:], plain.model.weight.item()]
    after = [end for end, step in zip(ends, taken, strict=True) if step]
    assert len(after) == 3
    mean = np.average(after, weights=[0.8**2, 0.8, 1.0])
    assert averaged.model.weight.item() == pytest.approx(mean)
    assert averaged.model.weight.item() != plain.model.weight.item()


def test_training_is_the_same_and_a_round_done_again_too(clips: ClipWindows) -> None:
    """The average is only handed out: losses on the way are those without it."""
    results = []
    for ema in (0.0, 0.9, 0.9):
        model = build_echo_model(PLAN)
        config = PLAN.finetune.model_copy(update={"ema": ema})
        report = finetune_round(model, clips, config, context())
        results.append((report.metrics, snapshot(model)))
    (plain, last), (metrics, mean), (_, again) = results
    assert metrics == plain
    assert all(torch.equal(mean[name], again[name]) for name in mean)
    assert not torch.equal(mean["heads.ef.linear.weight"], last["heads.ef.linear.weight"])


def test_frozen_weights_stay(clips: ClipWindows) -> None:
    model = build_echo_model(PLAN)
    before = snapshot(model)
    config = PLAN.finetune.model_copy(update={"ema": 0.9, "mode": TuneMode.LINEAR})
    finetune_round(model, clips, config, context())
    assert all(name.startswith("heads.") for name in changed(before, model))
