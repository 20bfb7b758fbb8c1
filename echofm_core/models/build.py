"""Models of a plan: built with weights that its seed alone decides, or only counted."""

from collections import Counter
from dataclasses import dataclass

import torch
from torch import nn

from echofm_core.contract import DECODER, ENCODER, HEADS, STF_NET, group_of
from echofm_core.models.config import StfNetForm
from echofm_core.models.echo_model import INITIAL_SCALE, EchoModel, Head
from echofm_core.models.latent_predictor import LatentPredictor
from echofm_core.models.lora import adapted_layers, adapter_parameters, add_adapters
from echofm_core.models.masked_autoencoder import MaskedAutoencoder
from echofm_core.models.masking import hidden_count
from echofm_core.models.patches import PatchGrid
from echofm_core.plan.document import Plan
from echofm_core.runtime.randomness import torch_stream
from echofm_core.training.config import TuneMode


def build_autoencoder(plan: Plan) -> MaskedAutoencoder:
    """Model of pre-training on pixels, on the CPU in float32; same plan, same bits."""
    with torch.random.fork_rng(devices=[]):
        model = MaskedAutoencoder(plan.model, plan.data, plan.pretrain)
    _initialise_groups(model, plan.seed)
    return model


def build_latent_predictor(plan: Plan) -> LatentPredictor:
    """Model of pre-training on latent targets; its encoder starts as :func:`build_autoencoder`'s.

    So does its teacher, whose weights are to be given to it.
    """
    with torch.random.fork_rng(devices=[]):
        model = LatentPredictor(plan.model, plan.data, plan.pretrain)
    _initialise_groups(model, plan.seed)
    model.teacher.load_state_dict(model.encoder.state_dict())
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
        add_adapters(model, plan.finetune.lora, plan.seed, plan.personal.lora_rank)
    return model


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Draw every weight of a module anew.

    Linear maps are Xavier-uniform as in VideoMAE, convolutions He-normal, embeddings normal with
    standard deviation 0.02; biases zero, norms one. A head then scales its output down. The
    generator is on the CPU.

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
            nn.init.normal_(layer.linear.weight, std=INITIAL_SCALE, generator=generator)


def _initialise_groups(model: nn.Module, seed: int) -> None:
    """One stream a parameter group, so that no group's weights depend on which others exist."""
    heads = getattr(model, HEADS, nn.ModuleDict()).items()
    groups = {name: getattr(model, name, None) for name in (ENCODER, DECODER, STF_NET)}
    for name, group in (groups | {f"{HEADS}.{task}": head for task, head in heads}).items():
        if group is not None:
            initialise(group, torch_stream(seed, "", 0, f"init.{name}"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Anatomy:
    """Sizes of the models of one plan.

    Attributes:
        groups: Parameter group -> parameters; all heads are one group here.
        forms: STF-Net form -> parameters at this width and grid.
        hidden: Space positions that pre-training hides, in each time slot.
        adapters: Parameters of the adapters of ``finetune.lora``, whatever the mode.
        below: Parameters of the layers' weights that these sit on.
    """

    groups: dict[str, int]
    forms: dict[StfNetForm, int]
    grid: PatchGrid
    hidden: int
    adapters: int
    below: int


def anatomy_of(plan: Plan) -> Anatomy:
    """Count the parameters of both phases' models and of every form of STF-Net."""
    grid = PatchGrid.of(plan.model, plan.data)
    latent = plan.pretrain.stages()[-1].latent
    with torch.device("meta"):
        predictor = LatentPredictor if latent else MaskedAutoencoder
        autoencoder = predictor(plan.model, plan.data, plan.pretrain)
        models = {
            form: EchoModel(
                plan.model.model_copy(update={"stf_net": form}), plan.data, plan.finetune.tasks
            )
            for form in StfNetForm
        }
    decoder = {DECODER: parameters_by_group(autoencoder)[DECODER]}
    encoder, lora = models[plan.model.stf_net].encoder, plan.finetune.lora
    return Anatomy(
        groups=parameters_by_group(models[plan.model.stf_net]) | decoder,
        forms={form: count(model.stf_net) for form, model in models.items()},
        grid=grid,
        hidden=hidden_count(grid.positions, plan.pretrain.mask_ratio),
        adapters=adapter_parameters(encoder, lora),
        below=sum(layer.weight.numel() for layer in adapted_layers(encoder, lora).values()),
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
