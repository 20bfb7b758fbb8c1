"""AdamW with weight decay where it belongs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import nn

from echofm_core.contract import Phase
from echofm_core.training.config import PhaseConfig

#: AdamW's averaging constants: VideoMAE's in pre-training, torch's own in fine-tuning.
BETAS: Mapping[Phase, tuple[float, float]] = MappingProxyType(
    {Phase.PRETRAIN: (0.9, 0.95), Phase.FINETUNE: (0.9, 0.999)}
)


def build_optimizer(model: nn.Module, config: PhaseConfig, phase: Phase) -> torch.optim.AdamW:
    """AdamW over the trainable parameters; no other is touched.

    Weight decay acts on matrices and kernels, not on biases, norms and tokens (embeddings).
    """
    tokens = {id(layer.weight) for layer in model.modules() if isinstance(layer, nn.Embedding)}
    decayed: list[nn.Parameter] = []
    bare: list[nn.Parameter] = []
    for parameter in trainable(model).values():
        plain = parameter.ndim < 2 or id(parameter) in tokens
        (bare if plain else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": bare, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=BETAS[phase],
        fused=True,
    )


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters that may change, by full name."""
    return {name: item for name, item in model.named_parameters() if item.requires_grad}


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = rate
