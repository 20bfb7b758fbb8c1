"""Which parameters of a plan stay at the sites, by the names that they have on the wire."""

import torch
from torch import nn

from echofm_core.contract import ENCODER, HEADS, LOCAL_LORA_A, LOCAL_LORA_B, STF_NET, group_of
from echofm_core.models.echo_model import EchoModel
from echofm_core.models.lora import adapted_layers
from echofm_core.plan.document import Plan
from echofm_core.training.personal import LocalGroup


def local_names(plan: Plan) -> frozenset[str]:
    """Full names of what fine-tuning leaves at each site; empty where all is shared."""
    return frozenset(local_sizes(plan))


def local_sizes(plan: Plan) -> dict[str, int]:
    """The same names, each with how many parameters it has.

    Norms are the layer norms of encoder and STF-Net; those of a head belong to the head. A second
    adapter is of the encoder, and a group by itself.
    """
    groups, rank = set(plan.personal.groups), plan.personal.lora_rank
    if not groups and not rank:
        return {}
    with torch.device("meta"):  # names and layers alone
        model = EchoModel(plan.model, plan.data, plan.finetune.tasks)
    found = {}
    for name, parameter in model.named_parameters():
        owner = group_of(name).partition(".")[0]
        layer = model.get_submodule(name.rpartition(".")[0])
        norm = isinstance(layer, nn.LayerNorm | nn.GroupNorm) and owner in (ENCODER, STF_NET)
        if (owner in (HEADS, STF_NET) and LocalGroup(owner) in groups) or (
            norm and LocalGroup.NORMS in groups
        ):
            found[name] = parameter.numel()
    for name, linear in adapted_layers(model.encoder, plan.finetune.lora).items() if rank else ():
        found[f"{LOCAL_LORA_A}.{name}.weight"] = rank * linear.in_features
        found[f"{LOCAL_LORA_B}.{name}.weight"] = rank * linear.out_features
    return found
