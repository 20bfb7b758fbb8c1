"""One small head a task on the fused features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from echofm_core.tasks import TASKS, Task

#: Standard deviation of a head's initial weights: its output starts near zero, which for a
#: regression is the population mean (targets are standardised) and for a class an even chance.
INITIAL_SCALE = 1e-3


class Head(nn.Module):
    """Layer norm and one linear map, so that training heads alone is a linear probe.

    Args:
        width: Length of the fused features.
        outputs: Numbers predicted.
    """

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.linear = nn.Linear(width, outputs)

    def init_weights(self, generator: torch.Generator | None = None) -> None:
        """Start with predictions near zero."""
        nn.init.normal_(self.linear.weight, std=INITIAL_SCALE, generator=generator)

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, width) to predictions (B, outputs)."""
        predicted: Tensor = self.linear(self.norm(features))
        return predicted


def build_head(task: Task, width: int) -> Head:
    """Head of a task: as many outputs as the task has."""
    return Head(width, TASKS[task].outputs)
