"""Models of a plan with initial weights that the plan's seed alone decides."""

from collections.abc import Iterator

import torch
from torch import nn

from echofm_core.contract import DECODER, ENCODER, HEADS, STF_NET
from echofm_core.models.echo_model import EchoModel, Head
from echofm_core.models.lora import add_adapters
from echofm_core.models.masked_autoencoder import MaskedAutoencoder
from echofm_core.plan.document import Plan
from echofm_core.runtime.randomness import torch_stream
from echofm_core.training.config import TuneMode


def build_autoencoder(plan: Plan) -> MaskedAutoencoder:
    """Model of the pre-training phase, on the CPU in float32; same plan, same bits."""
    with torch.random.fork_rng(devices=[]):
        model = MaskedAutoencoder(plan.model, plan.data, plan.pretrain)
    _initialise_groups(model, plan.seed)
    return model


def build_echo_model(plan: Plan) -> EchoModel:
    """A model that predicts; its encoder starts as :func:`build_autoencoder`'s does."""
    with torch.random.fork_rng(devices=[]):
        model = EchoModel(plan.model, plan.data, plan.finetune.tasks)
    _initialise_groups(model, plan.seed)
    return model


def build_tuned_model(plan: Plan) -> EchoModel:
    """What fine-tuning trains: :func:`build_echo_model`, with adapters where the mode is ``lora``.

    Raises:
        EnvironmentClashError: Adapters are wanted, and peft is not installed.
    """
    model = build_echo_model(plan)
    if plan.finetune.mode is TuneMode.LORA:
        add_adapters(model, plan.finetune.lora, plan.seed)
    return model


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Draw every weight of a module anew.

    Linear maps are Xavier-uniform as in VideoMAE, convolutions He-normal, embeddings normal with
    standard deviation 0.02; biases zero, norms one. A head then scales its output down.

    Args:
        module: Changed in place.
        generator: Source of randomness, on the CPU.

    Raises:
        TypeError: A layer holds parameters and no rule covers it.
    """
    for layer in module.modules():
        match layer:
            case nn.Linear():
                nn.init.xavier_uniform_(layer.weight, generator=generator)
            case nn.Conv3d():
                nn.init.kaiming_normal_(layer.weight, generator=generator)
            case nn.Embedding():
                nn.init.normal_(layer.weight, std=0.02, generator=generator)
            case nn.LayerNorm() | nn.GroupNorm():
                nn.init.ones_(layer.weight)
            case _ if any(True for _ in layer.parameters(recurse=False)):
                raise TypeError(f"no initialisation rule for {type(layer).__name__}")
            case _:
                continue
        if isinstance(bias := getattr(layer, "bias", None), nn.Parameter):
            nn.init.zeros_(bias)
    for layer in module.modules():
        if isinstance(layer, Head):
            layer.init_weights(generator)


def _initialise_groups(model: nn.Module, seed: int) -> None:
    """One stream a parameter group, so that no group's weights depend on which others exist."""
    for name, group in _groups(model):
        initialise(group, torch_stream(seed, "", 0, f"init.{name}"))


def _groups(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Name and module of each parameter group that the model has."""
    for name in (ENCODER, DECODER, STF_NET):
        if hasattr(model, name):
            yield name, getattr(model, name)
    for task, head in getattr(model, HEADS, nn.ModuleDict()).items():
        yield f"{HEADS}.{task}", head
