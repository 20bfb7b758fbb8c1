"""One training step of a contestant, and what it costs: FLOPs, and the machine's own best rate."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from echofm_core.models.config import ModelSize
from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_mapping
from echofm_core.training.config import Precision
from echofm_core.training.execution.devices import autocast

Shape = Sequence[int]
FRAMES = 16
MASK_RATIO = 0.85


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What is measured.

    Attributes:
        size: Encoder of both sides.
        pixels: Side of a frame.
        mae_batch, tune_batch: Clips of a step.
        mae_turns, tune_turns: Repetitions of each contestant.
        matmul: Side of the square matrices whose product gives the machine's rate.
    """

    size: ModelSize
    pixels: int
    mae_batch: int
    tune_batch: int
    mae_turns: int
    tune_turns: int
    matmul: int

    def plan(self, decode_fraction: float = 0.5) -> Plan:
        """Plan of our side; all that is not named stands at its default."""
        return plan_from_mapping(
            {
                "data": {"size": self.pixels, "frames": FRAMES},
                "model": {"size": self.size},
                "pretrain": {"mask_ratio": MASK_RATIO, "decode_fraction": decode_fraction},
                "finetune": {"local_epochs": 1, "tasks": ["ef"]},
            },
            "of the benchmark",
        )


BASE = Setting(
    size=ModelSize.BASE,
    pixels=224,
    mae_batch=2,
    tune_batch=2,
    mae_turns=5,
    tune_turns=3,
    matmul=4096,
)
QUICK = Setting(
    size=ModelSize.SMALL,
    pixels=112,
    mae_batch=2,
    tune_batch=2,
    mae_turns=2,
    tune_turns=2,
    matmul=1024,
)


def cones(batch: int, pixels: int) -> Tensor:
    """Ultrasound sectors, bool (B, S, S), of which no two are alike: each 3 % shorter.

    The first is that of most videos of EchoNet-Dynamic: of 112 x 112 pixels, its apex lies at
    (61, 7), its radius is 107 and half its angle 0.79 rad.
    """
    place = (torch.arange(pixels) + 0.5) * (112 / pixels) - 0.5
    x, z = place.reshape(1, -1) - 61, place.reshape(-1, 1) - 7
    radius = 107 * (1 - 0.03 * torch.arange(batch)).reshape(-1, 1, 1)
    return (torch.hypot(x, z) <= radius) & (torch.atan2(x, z).abs() <= 0.79)


def whole(batch: int, pixels: int) -> Tensor:
    """Sectors, bool (B, S, S), that fill the square."""
    return torch.ones(batch, pixels, pixels, dtype=torch.bool)


@dataclass(frozen=True, kw_only=True, slots=True)
class Learner:
    """A model that learns.

    Attributes:
        loss: Forward pass on a batch that lies ready, masks drawn anew; a scalar.
        optimizer: Of its parameters.
        device: Where they are.
    """

    loss: Callable[[], Tensor]
    optimizer: Optimizer
    device: torch.device

    def step(self, precision: Precision) -> None:
        """Forward, backward, AdamW; returns when the device has done it."""
        with autocast(self.device, precision):
            loss = self.loss()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        synchronize(self.device)


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def step_flops(learner: Learner) -> int:
    """Floating-point operations of the products in one step, as they are carried out.

    A fused attention computes its scores again in the backward pass, and that is counted.
    """
    with FlopCounterMode(display=False, custom_mapping=_FORMULAS) as counter:
        learner.step(Precision.FP32)
    return counter.get_total_flops()


def matmul_rate(side: int, precision: Precision, device: torch.device) -> float:
    """Best FLOP/s of ten products of two square matrices, once warm."""
    dtype = torch.bfloat16 if precision is Precision.BF16 else torch.float32
    one = torch.ones(side, side, dtype=dtype, device=device)
    best = math.inf
    for _ in range(11):
        synchronize(device)
        started = time.perf_counter()
        torch.mm(one, one)
        synchronize(device)
        best = min(best, time.perf_counter() - started)
    return 2 * side**3 / best


def _attention(query: Shape, key: Shape, value: Shape, *_: object, **__: object) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(
    gradient: Shape, query: Shape, key: Shape, value: Shape, *_: object, **__: object
) -> int:
    return sdpa_backward_flop_count(gradient, query, key, value)


def _convolution_backward(
    gradient: Shape, _: Shape, kernel: Shape, *others: Sequence[bool], **__: object
) -> int:
    """As much as the forward pass for each of the input's and the kernel's gradient."""
    forward = 2 * gradient[0] * math.prod(gradient[2:]) * math.prod(kernel)
    return forward * sum(others[-1][:2])


#: What torch's counter leaves out (the CPU's fused attention) or overrates (convolutions of several
#: groups: each kernel gradient as that of one group).
_FORMULAS = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    torch.ops.aten.convolution_backward: _convolution_backward,
}
