"""AdamW, with weight decay only where it belongs and a slower rate deeper in the encoder."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import torch
from torch import nn

from echofm_core.contract import ENCODER, LORA_A, LORA_B, Phase
from echofm_core.models.weights import named_weights
from echofm_core.training.config import PhaseConfig

#: AdamW's averaging constants: VideoMAE's in pre-training, torch's own in fine-tuning.
BETAS: Mapping[Phase, tuple[float, float]] = MappingProxyType(
    {Phase.PRETRAIN: (0.9, 0.95), Phase.FINETUNE: (0.9, 0.999)}
)
#: Parameters below the top of the encoder, adapters too; the group is a block's number.
_DEEP = re.compile(rf"(?:{ENCODER}|{LORA_A}|{LORA_B})\.(?:patch_embed|blocks\.(\d+))\.")


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

    Args:
        names: Full names of all the model's weights.
        decay: In (0, 1].

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
