"""Average of the weights over the steps of a round."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class AveragedWeights:
    """Exponential moving average of the weights after each step, unbiased from the first one on.

    After n steps, the weights after step i count in proportion to ``decay ** (n - i)``. A round
    begins a new average, since it begins at the server's weights; so a round that is done again
    ends as it did the first time, and an institution's next round trains on from the average.

    Args:
        parameters: Trainable parameters by full name.
        decay: In [0, 1); with 0 nothing is kept and nothing is done.

    Source: Polyak 1992; restarts from the average as in Li 2024 (Switch EMA).
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self.decay = decay
        self.parameters = dict(parameters) if decay else {}
        self.means: dict[str, Tensor] = {
            name: torch.zeros_like(item) for name, item in self.parameters.items()
        }
        self.steps = 0

    @torch.no_grad()
    def add(self) -> None:
        """Count the weights as they now are."""
        self.steps += 1
        for name, parameter in self.parameters.items():
            share = (1 - self.decay) / (1 - self.decay**self.steps)
            self.means[name].lerp_(parameter, share)

    @torch.no_grad()
    def put(self) -> None:
        """Give the model the average in place of its last weights."""
        if self.steps:
            for name, parameter in self.parameters.items():
                parameter.copy_(self.means[name])
