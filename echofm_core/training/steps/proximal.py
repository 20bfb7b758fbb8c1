"""The FedProx term: a pull back towards the weights that the round began with."""

from collections.abc import Iterable

import torch
from torch import nn


class ProximalPull:
    """Gradient of ``0.5 * mu * sum((w - w0) ** 2)``, added where gradients are.

    The norm is squared, as published; the term is differentiated by hand, which costs one
    multiply-add a weight instead of a second graph.

    Args:
        parameters: Trainable parameters; their present values are w0.
        mu: Weight of the term; with 0 nothing is kept and nothing is done.

    Source: Li 2020 (FedProx), equation 2.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], mu: float) -> None:
        self.mu = mu
        self.pairs = [(item, item.detach().clone()) for item in parameters] if mu else []

    @torch.no_grad()
    def add(self) -> None:
        """Add ``mu * (w - w0)`` to the gradients."""
        for parameter, start in self.pairs:
            if parameter.grad is not None:
                parameter.grad.add_(parameter - start, alpha=self.mu)
