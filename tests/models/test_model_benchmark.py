"""The contestants of ``benchmarks.model`` learn, and what it counts is what a hand counts."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from benchmarks.peers import echofm, videomae_hf
from benchmarks.peers.stff_net import StffNet
from benchmarks.step_memory import INTERVAL, ResidentPeak
from benchmarks.training_step import QUICK, Learner, cones, matmul_rate, step_flops
from echofm_core.models.config import ModelSize
from echofm_core.models.masking import positions_seen
from echofm_core.training.config import Precision

CPU = torch.device("cpu")
SETTING = replace(QUICK, size=ModelSize.TINY, pixels=32)


def learner(model: nn.Module, *inputs: torch.Tensor) -> Learner:
    optimizer = torch.optim.AdamW(model.parameters())
    return Learner(loss=lambda: model(*inputs).square().mean(), optimizer=optimizer, device=CPU)


def test_flops_of_a_linear_layer() -> None:
    """2 x 5 x 7 x 3 for the outputs, as much for the kernel's gradient; the input needs none."""
    assert step_flops(learner(nn.Linear(7, 3), torch.ones(5, 7))) == 2 * (2 * 5 * 7 * 3)


def test_flops_of_a_grouped_convolution() -> None:
    """4 groups of 2 x 2 channels, kernel 3: 2 x 6 positions x 8 outputs x (2 x 3), forward; as much
    for the kernel's gradient."""
    model = nn.Conv1d(8, 8, kernel_size=3, groups=4)
    assert step_flops(learner(model, torch.ones(1, 8, 8))) == 2 * (2 * 6 * 8 * 2 * 3)


def test_flops_of_fused_attention() -> None:
    """Forward two products of 2 x 16 x 16 x 8; backward five, since scores are computed again."""
    query = nn.Parameter(torch.ones(1, 1, 16, 8))

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query = query

        def forward(self) -> torch.Tensor:
            return nn.functional.scaled_dot_product_attention(query, query, query)

    assert step_flops(learner(Attention())) == (2 + 5) * (2 * 16 * 16 * 8)


def test_the_published_fusion_is_as_large_as_published() -> None:
    """126 M parameters at base size, of which the 14 x 14 convolution has 768 x 768 x 196."""
    with torch.device("meta"):
        model = StffNet((8, 14, 14), 768)
    sizes = {name: item.numel() for name, item in model.named_parameters()}
    assert sizes["merge.weight"] == 768 * 768 * 196
    assert sum(sizes.values()) / 1e6 == pytest.approx(126, abs=1)


def test_cones_are_those_of_the_public_videos() -> None:
    """At 112 pixels: the apex (61, 7) is in, a pixel above it is not; nor are (61, 7 + 108), past
    the radius of 107, and (111, 20), at 75 degrees. The second clip's cone is 3 % shorter: 103.8.

    By NumPy, the first touches 145 of the 14 x 14 patches.
    """
    first, second = cones(2, 112)
    lit = [(7, 61), (60, 61), (111, 61)]
    dark = [(6, 61), (20, 111), (110, 0)]
    assert [bool(first[place]) for place in lit + dark] == [True] * 3 + [False] * 3
    assert bool(first[7 + 104, 61]) and not bool(second[7 + 104, 61])
    assert int(positions_seen(cones(1, 224), 16).sum()) == 145


def test_a_step_moves_every_parameter() -> None:
    """Of each side: nobody is spared work by a part of the model that hangs in the air."""
    sides = [
        echofm.autoencoder(SETTING, CPU, 0.5, cones(SETTING.mae_batch, SETTING.pixels)),
        *videomae_hf.autoencoder(SETTING, CPU),
        echofm.predictor(SETTING, CPU, cones(SETTING.tune_batch, SETTING.pixels)),
        *videomae_hf.predictor(SETTING, CPU),
    ]
    for one in sides:
        parameters = [item for group in one.optimizer.param_groups for item in group["params"]]
        before = [item.detach().clone() for item in parameters]
        one.step(Precision.FP32)
        still = [
            tuple(item.shape)
            for item, was in zip(parameters, before, strict=True)
            if torch.equal(item, was)
        ]
        assert still == []
        one.step(Precision.BF16)
        assert torch.isfinite(one.loss())


def test_the_peak_is_seen_though_it_is_gone_again() -> None:
    """64 MiB, held for 25 samples and given back before the block ends.

    Up to 8 MiB that this process held before may be given back meanwhile.
    """
    with ResidentPeak() as resident:
        held = bytearray(b"x" * (64 << 20))
        time.sleep(25 * INTERVAL)
        del held
    assert 56 << 20 <= resident.peak < 160 << 20


def test_the_rate_is_that_of_the_best_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """A product of 64 x 64 matrices has 2 x 64^3 operations; the quickest of eleven takes 0.5 s."""
    took = [3.0, 2.0, 0.5, *[1.0] * 8]
    clock = iter([time for seconds in took for time in (0.0, seconds)])
    monkeypatch.setattr("benchmarks.training_step.time.perf_counter", lambda: next(clock))
    assert matmul_rate(64, Precision.FP32, CPU) == 2 * 64**3 / 0.5
