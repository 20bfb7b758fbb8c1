"""Low-rank adapters on the encoder: put in, named, merged.

A layer ``W x`` becomes ``W x + alpha / rank * B (A x)``; W is frozen, A is drawn and B starts at
zero, so that a model with fresh adapters is the model it was. peft puts them in, in place. It
renames what it wraps; :func:`own_name` undoes that, so that names on the wire and on disk depend on
no library.

A server averages A and B each by itself (FedIT, Zhang 2023), which is not the average of ``B A``
unless A is frozen (FFA-LoRA, Sun 2024).

Source: Hu 2022 (LoRA).
"""

import math
import re
from importlib.util import find_spec

import numpy as np
import torch
from torch import nn

from echofm_core.contract import ENCODER, LORA_A, LORA_B, Weights, group_of
from echofm_core.models.config import LoraConfig
from echofm_core.models.echo_model import EchoModel
from echofm_core.plan.document import Plan
from echofm_core.runtime.errors import EnvironmentClashError
from echofm_core.runtime.extras import install
from echofm_core.runtime.randomness import torch_stream
from echofm_core.training.config import FinetuneConfig, TuneMode

#: Parameter groups of adapters.
ADAPTERS = (LORA_A, LORA_B)
#: peft's name of an adapter's matrix.
_ADAPTER = re.compile(rf"{ENCODER}\.(.+)\.lora_([AB])\.default\.weight")


def add_adapters(model: EchoModel, config: LoraConfig, seed: int) -> None:
    """Put fresh adapters beside the encoder's layers; the model's outputs stay what they are.

    The model is changed in place; nothing in it is frozen yet. The plan's seed alone decides A, so
    that all sites begin with the same adapters.

    Raises:
        EnvironmentClashError: peft is not installed.
    """
    _require_peft()
    # Not above: it loads transformers, which takes seconds.
    from peft import LoraConfig as PeftConfig
    from peft import inject_adapter_in_model

    layers = [target.layer for target in config.targets]
    with torch.random.fork_rng(devices=[]):
        inject_adapter_in_model(
            PeftConfig(r=config.rank, lora_alpha=config.alpha, target_modules=layers),
            model.encoder,
        )
    model.requires_grad_(True)  # what is frozen is decided in fine-tuning alone
    generator = torch_stream(seed, "", 0, f"init.{LORA_A}")
    for name, parameter in model.named_parameters():
        group = group_of(own_name(name))
        if group == LORA_A:  # uniform within 1 / sqrt(inputs), as the authors' code draws it
            nn.init.kaiming_uniform_(parameter, a=math.sqrt(5), generator=generator)
        elif group == LORA_B:
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
        return f"{LORA_A if found[2] == 'A' else LORA_B}.{found[1]}.weight"
    return name.replace(".base_layer.", ".")


def merged(weights: Weights, config: LoraConfig) -> Weights:
    """Weights of a plain model that computes the same: ``W + alpha / rank * B A``.

    Float32 arrays, adapters gone; weights without adapters are returned as they are.
    """
    plain = {name: array for name, array in weights.items() if group_of(name) not in ADAPTERS}
    for name in sorted(set(weights) - set(plain)):
        group, _, layer = name.partition(".")
        if group == LORA_A:
            a, b = weights[name].astype(np.float64), weights[f"{LORA_B}.{layer}"]
            base = f"{ENCODER}.{layer}"
            plain[base] = (weights[base] + config.scale * (b @ a)).astype(np.float32)
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
    layers = adapted_layers(encoder, config)
    return sum(config.rank * (layer.in_features + layer.out_features) for layer in layers)


def adapted_layers(encoder: nn.Module, config: LoraConfig) -> list[nn.Linear]:
    """Layers of an encoder without adapters that would get one."""
    ends = tuple(f".{target.layer}" for target in config.targets)
    named = encoder.named_modules()
    return [item for name, item in named if isinstance(item, nn.Linear) and name.endswith(ends)]
