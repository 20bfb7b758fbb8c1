"""AdamW and its learning rate, the FedProx pull on its gradients, the average of its weights."""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from echofm_core.contract import ENCODER, LOCAL_LORA_A, LOCAL_LORA_B, LORA_A, LORA_B, Phase
from echofm_core.models.weights import named_weights
from echofm_core.training.config import PhaseConfig

#: AdamW's averaging constants: VideoMAE's in pre-training, torch's own in fine-tuning.
BETAS: Mapping[Phase, tuple[float, float]] = {
    Phase.PRETRAIN: (0.9, 0.95),
    Phase.FINETUNE: (0.9, 0.999),
}
#: Parameters below the top of the encoder, adapters too; the group is a block's number.
_DEEP = re.compile(
    rf"(?:{ENCODER}|{LORA_A}|{LORA_B}|{LOCAL_LORA_A}|{LOCAL_LORA_B})\."
    r"(?:patch_embed|blocks\.(\d+))\."
)


def build_optimizer(model: nn.Module, config: PhaseConfig, phase: Phase) -> torch.optim.AdamW:
    """AdamW over the trainable parameters; no other is touched.

    Weight decay acts on matrices and kernels, not on biases, norms and tokens (embeddings).
    """
    tokens = {id(layer.weight) for layer in model.modules() if isinstance(layer, nn.Embedding)}
    shares = rate_shares(named_weights(model), config.layer_decay)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in trainable(model).items():
        bare = parameter.ndim < 2 or id(parameter) in tokens
        groups[shares[name], bare].append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": groups[share, bare],
                "weight_decay": 0.0 if bare else config.weight_decay,
                "rate_share": share,
            }
            for share, bare in sorted(groups)
        ],
        lr=config.learning_rate,
        betas=BETAS[phase],
        fused=True,
    )


def rate_shares(names: Iterable[str], decay: float) -> dict[str, float]:
    """Share of the schedule's rate that each parameter gets.

    The topmost encoder block gets ``decay``, each one below that much less than the one above it,
    and the patch embedding less than the lowest; all else, the encoder's last norm too, gets 1.
    ``names`` are all of the model's weights; ``decay`` is in (0, 1].

    Source: Bao 2021 (BEiT), as VideoMAE (Tong 2022) fine-tunes.
    """
    found = {name: _DEEP.match(name) for name in names}
    layers = {name: int(deep[1] or -1) if deep else None for name, deep in found.items()}
    depth = 1 + max((layer for layer in layers.values() if layer is not None), default=-1)
    return {
        name: 1.0 if layer is None else decay ** (depth - layer) for name, layer in layers.items()
    }


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters that may change, by full name."""
    return {name: item for name, item in named_weights(model).items() if item.requires_grad}


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Learning rate of the next step; each group takes its share of it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate_share"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundSchedule:
    """Linear warm-up, then cosine to zero, as a function of progress in global rounds.

    Sites differ in steps a round, so the curve is over progress and not over steps: at any moment
    of a round all sites stand at the same point of the curve.

    The rate is ``peak`` at the end of the warm-up, which may be a fraction of a round.
    """

    peak: float
    warmup_rounds: float
    rounds: int

    def at(self, progress: float) -> float:
        """Learning rate at a progress in [0, rounds]."""
        if progress < self.warmup_rounds:
            return self.peak * progress / self.warmup_rounds
        rest = self.rounds - self.warmup_rounds
        done = (progress - self.warmup_rounds) / rest if rest > 0 else 0.0
        return self.peak * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))

    def of_step(self, round_: int, step: int, steps: int) -> float:
        """Learning rate of a step: the curve at the step's middle, hence never zero.

        Rounds count from 1, and of the ``steps`` of this site's round each from 0.
        """
        return self.at(round_ - 1 + (step + 0.5) / steps)


class ProximalPull:
    """Gradient of ``0.5 * mu * sum((w - w0) ** 2)``, added where gradients are.

    The norm is squared, as published; the term is differentiated by hand, which costs one
    multiply-add a weight instead of a second graph. With a ``mu`` of 0 nothing is kept and nothing
    is done.

    Args:
        parameters: w.
        mu: Weight of the term.
        towards: w0, in the order of the parameters; None: their present values.

    Source: Li 2020 (FedProx), equation 2; with a w0 that is not where the round begins, the
    personal objective of Li 2021 (Ditto), algorithm 1.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        mu: float,
        towards: Iterable[Tensor] | None = None,
    ) -> None:
        held = list(parameters) if mu else []
        start = [item.detach().clone() for item in held] if towards is None else towards
        self.mu = mu
        self.pairs = [(item, to.to(item.device)) for item, to in zip(held, start, strict=False)]

    @torch.no_grad()
    def add(self) -> None:
        """Add ``mu * (w - w0)`` to the gradients."""
        for parameter, start in self.pairs:
            if parameter.grad is not None:
                parameter.grad.add_(parameter - start, alpha=self.mu)


class Turns:
    """Takes the gradients of the parameters whose turn it is not: what stays at a site is first.

    A parameter without a gradient is left alone by AdamW, weight decay included. With no ``first``
    steps nothing is taken.

    Source: Collins 2021 (FedRep), algorithm 1.
    """

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], local: Iterable[str], first: int
    ) -> None:
        own = set(local)
        self.first = first
        self.own = [item for name, item in parameters.items() if name in own]
        self.shared = [item for name, item in parameters.items() if name not in own]

    def take(self, step: int) -> None:
        """Of a step of the round, counted from 0; gradients are there."""
        if self.first:
            for parameter in self.shared if step < self.first else self.own:
                parameter.grad = None


class AveragedWeights:
    """Exponential moving average of the weights after each step, unbiased from the first one on.

    After n steps, the weights after step i count in proportion to ``decay ** (n - i)``. A round
    begins a new average, since it begins at the server's weights; so a round that is done again
    ends as it did the first time, and an institution's next round trains on from the average. With
    a decay, in [0, 1), of 0 nothing is kept and nothing is done.

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
