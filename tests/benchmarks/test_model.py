"""The bars of the benchmark of training steps; its figures take a quarter of an hour."""

from __future__ import annotations

import torch

from benchmarks.model import BF16, FP32, Bench
from benchmarks.training_step import QUICK


def test_what_bf16_gains_has_a_bar_only_where_it_is_multiplied_faster() -> None:
    slow, fast = (
        Bench(setting=QUICK, device=torch.device("cpu"), peaks=peaks)
        for peaks in ({FP32: 1e11}, {FP32: 1e11, BF16: 3e11})
    )
    assert (slow.fastest, slow.bar(2.2)) == (FP32, None)
    assert (fast.fastest, fast.bar(2.2)) == (BF16, 2.2)
