"""What a model is made of, counted without allocating it."""

from collections import Counter
from dataclasses import dataclass

import torch
from torch import nn

from echofm_core.contract import DECODER, HEADS, group_of
from echofm_core.models.config import StfNetForm
from echofm_core.models.echo_model import EchoModel
from echofm_core.models.lora import adapter_parameters
from echofm_core.models.masked_autoencoder import MaskedAutoencoder
from echofm_core.models.masking import hidden_count
from echofm_core.models.patches import PatchGrid
from echofm_core.models.stf_published import published_parameters
from echofm_core.plan.document import Plan


@dataclass(frozen=True, kw_only=True, slots=True)
class Anatomy:
    """Sizes of the models of one plan.

    Attributes:
        groups: Parameter group -> parameters; all heads are one group here.
        forms: STF-Net form -> parameters at this width and grid.
        published: The released STF-Net's before correction, layer by layer from its shapes.
        grid: Geometry of the tokens.
        hidden: Space positions that pre-training hides, in each time slot.
        adapters: Parameters of the adapters of ``finetune.lora``, whatever the mode.
    """

    groups: dict[str, int]
    forms: dict[StfNetForm, int]
    published: int
    grid: PatchGrid
    hidden: int
    adapters: int


def anatomy_of(plan: Plan) -> Anatomy:
    """Count the parameters of both phases' models and of every form of STF-Net."""
    grid = PatchGrid.of(plan.model, plan.data)
    with torch.device("meta"):
        autoencoder = MaskedAutoencoder(plan.model, plan.data, plan.pretrain)
        models = {
            form: EchoModel(
                plan.model.model_copy(update={"stf_net": form}), plan.data, plan.finetune.tasks
            )
            for form in StfNetForm
        }
    decoder = {DECODER: parameters_by_group(autoencoder)[DECODER]}
    width = models[StfNetForm.PUBLISHED].encoder.width
    return Anatomy(
        groups=parameters_by_group(models[plan.model.stf_net]) | decoder,
        forms={form: count(model.stf_net) for form, model in models.items()},
        published=published_parameters(width, grid.rows, grid.cols),
        grid=grid,
        hidden=hidden_count(grid.positions, plan.pretrain.mask_ratio),
        adapters=adapter_parameters(models[plan.model.stf_net].encoder, plan.finetune.lora),
    )


def parameters_by_group(model: nn.Module) -> dict[str, int]:
    """Parameters of each group, the heads taken together."""
    counts: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        group = group_of(name)
        counts[HEADS if group.startswith(HEADS) else group] += parameter.numel()
    return dict(counts)


def count(module: nn.Module) -> int:
    """Parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters())
