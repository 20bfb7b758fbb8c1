"""Low-rank adapters on the encoder: put in, named, merged.

A layer ``W x`` becomes ``W x + alpha / rank * B (A x)``; W is frozen, A is drawn and B starts at
zero, so that a model with fresh adapters is the model it was. peft puts them in, in place. It
renames what it wraps; :func:`own_name` undoes that, so that names on the wire and on disk depend on
no library.

A server averages A and B each by itself (FedIT, Zhang 2023), which is not the average of ``B A``
unless A is frozen (FFA-LoRA, Sun 2024), or the layer below takes up the difference (FedEx-LoRA,
Singhal 2025). Each layer may have a second adapter, which is a site's own: what they add is summed
(Med-DualLoRA, Perramon-Llussa 2026).

Source: Hu 2022 (LoRA).
"""

import math
import re
import warnings
from importlib.util import find_spec

import numpy as np
import torch
from torch import nn

from echofm_core.contract import (
    ENCODER,
    LOCAL_LORA_A,
    LOCAL_LORA_B,
    LORA_A,
    LORA_B,
    Weights,
    group_of,
)
from echofm_core.models.config import LoraConfig
from echofm_core.models.echo_model import EchoModel
from echofm_core.plan.document import Plan
from echofm_core.runtime.errors import EnvironmentClashError
from echofm_core.runtime.extras import install
from echofm_core.runtime.randomness import torch_stream
from echofm_core.training.config import FinetuneConfig, TuneMode

#: peft's names of the adapters of a layer -> their parameter groups, A and B.
_GROUPS = {"default": (LORA_A, LORA_B), "local": (LOCAL_LORA_A, LOCAL_LORA_B)}
#: Parameter group of each A -> that of its B.
PAIRS = dict(_GROUPS.values())
#: peft's name of an adapter's matrix.
_ADAPTER = re.compile(rf"{ENCODER}\.(.+)\.lora_([AB])\.({'|'.join(_GROUPS)})\.weight")


def add_adapters(model: EchoModel, config: LoraConfig, seed: int, local_rank: int = 0) -> None:
    """Put fresh adapters beside the encoder's layers; the model's outputs stay what they are.

    The model is changed in place; nothing in it is frozen yet. The plan's seed alone decides A, so
    that all sites begin with the same adapters.

    Args:
        model: Without adapters.
        config: The plan's table.
        seed: The plan's.
        local_rank: Of a second adapter beside each; 0: none.

    Raises:
        EnvironmentClashError: peft is not installed.
    """
    _require_peft()
    # Not above: it loads transformers, which takes seconds.
    from peft import LoraConfig as PeftConfig
    from peft import inject_adapter_in_model
    from peft.tuners.lora import LoraLayer

    layers = [target.layer for target in config.targets]
    ranks = {"default": config.rank} | ({"local": local_rank} if local_rank else {})
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Already found a `peft_config`")  # that is meant
        for adapter, rank in ranks.items():
            table = PeftConfig(r=rank, lora_alpha=config.alpha, target_modules=layers)
            inject_adapter_in_model(table, model.encoder, adapter_name=adapter)
    for layer in model.encoder.modules():
        if isinstance(layer, LoraLayer):
            layer.set_adapter([*ranks])
    model.requires_grad_(True)  # what is frozen is decided in fine-tuning alone
    streams = {group: torch_stream(seed, "", 0, f"init.{group}") for group in PAIRS}
    for name, parameter in model.named_parameters():
        group = group_of(own_name(name))
        if group in PAIRS:  # uniform within 1 / sqrt(inputs), as the authors' code draws it
            nn.init.kaiming_uniform_(parameter, a=math.sqrt(5), generator=streams[group])
        elif group in PAIRS.values():
            nn.init.zeros_(parameter)


def require_adapters(config: FinetuneConfig) -> None:
    """Refuse fine-tuning whose adapters cannot be made here, before anything is trained.

    Raises:
        EnvironmentClashError: peft is not installed.
    """
    if config.rounds and config.mode is TuneMode.LORA:
        _require_peft()


def _require_peft() -> None:
    if find_spec("peft") is None:
        raise EnvironmentClashError(
            'finetune.mode = "lora" needs peft, at the server and at each site; install it with '
            f"`{install('lora')}`."
        )


def own_name(name: str) -> str:
    """Name of a weight on the wire and on disk, whether its layer has an adapter or not.

    >>> own_name("encoder.blocks.0.attn.qkv.base_layer.weight")
    'encoder.blocks.0.attn.qkv.weight'
    >>> own_name("encoder.blocks.0.attn.qkv.lora_A.default.weight")
    'lora_a.blocks.0.attn.qkv.weight'
    """
    if found := _ADAPTER.fullmatch(name):
        return f"{_GROUPS[found[3]]['AB'.index(found[2])]}.{found[1]}.weight"
    return name.replace(".base_layer.", ".")


def merged(weights: Weights, config: LoraConfig) -> Weights:
    """Weights of a plain model that computes the same: ``W + alpha / rank * B A``, of all adapters.

    Float32 arrays, adapters gone; weights without adapters are returned as they are.
    """
    adapters = {*PAIRS, *PAIRS.values()}
    plain = {name: array for name, array in weights.items() if group_of(name) not in adapters}
    for name in sorted(set(weights) - set(plain)):
        group, _, layer = name.partition(".")
        if group in PAIRS:
            a, b = weights[name].astype(np.float64), weights[f"{PAIRS[group]}.{layer}"]
            base = f"{ENCODER}.{layer}"
            plain[base] = (plain[base] + config.alpha / len(a) * (b @ a)).astype(np.float32)
    return plain


def untrained_notes(plan: Plan) -> list[str]:
    """A warning where adapters shall be trained on an encoder that never was."""
    if plan.finetune.mode is not TuneMode.LORA or plan.pretrain.rounds or plan.model.start:
        return []
    return [
        'finetune.mode is "lora", but the encoder starts from drawn weights, which stay frozen: '
        "adapters on it learn little; pre-train it, or start from weights."
    ]


def adapter_parameters(encoder: nn.Module, config: LoraConfig) -> int:
    """Parameters of the adapters that an encoder would get; needs no peft.

    Source: Hu 2022, section 4.1: ``rank * (inputs + outputs)`` a layer.
    """
    layers = adapted_layers(encoder, config).values()
    return sum(config.rank * (layer.in_features + layer.out_features) for layer in layers)


def adapted_layers(encoder: nn.Module, config: LoraConfig) -> dict[str, nn.Linear]:
    """Layers of an encoder without adapters that would get one, by name within it."""
    ends = tuple(f".{target.layer}" for target in config.targets)
    return {
        name: layer
        for name, layer in encoder.named_modules()
        if isinstance(layer, nn.Linear) and name.endswith(ends)
    }
