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
        grey: Length of the grey levels that stand beside them. They are not normed: how much of a
            picture is dark says how large a chamber is, and a norm takes that away.
    """

    def __init__(self, width: int, outputs: int, grey: int = 0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.linear = nn.Linear(width + grey, outputs)

    def init_weights(self, generator: torch.Generator | None = None) -> None:
        """Start with predictions near zero."""
        nn.init.normal_(self.linear.weight, std=INITIAL_SCALE, generator=generator)

    def forward(self, features: Tensor, grey: Tensor | None = None) -> Tensor:
        """Features (B, width), and grey levels (B, grey), to predictions (B, outputs)."""
        seen = self.norm(features)
        if grey is not None:
            seen = torch.cat((seen, grey), dim=1)
        predicted: Tensor = self.linear(seen)
        return predicted


def build_head(task: Task, width: int, grey: int = 0) -> Head:
    """Head of a task: as many outputs as the task has."""
    return Head(width, TASKS[task].outputs, grey)
