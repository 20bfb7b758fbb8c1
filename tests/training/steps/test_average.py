from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from echofm_core.data.windows import ClipWindows
from echofm_core.models.build import build_echo_model
from echofm_core.training.config import TuneMode
from echofm_core.training.objectives.finetune import finetune_round
from echofm_core.training.objectives.losses import Losses
from echofm_core.training.steps.average import AveragedWeights
from echofm_core.training.steps.job import Indices
from echofm_core.training.steps.loop import train
from tests.training.site import PLAN, changed, context, snapshot
from tests.training.steps.test_loop import PLAIN, Slope, job


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
