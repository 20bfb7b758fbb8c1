"""The two phases: which model each trains, this process's part of a round, and validation."""

import numpy as np
import torch

from echofm_core.contract import Phase
from echofm_core.data.windows import ClipWindows
from echofm_core.models.build import build_autoencoder, build_latent_predictor, build_tuned_model
from echofm_core.models.echo_model import EchoModel
from echofm_core.models.masked_predictor import MaskedPredictor
from echofm_core.plan.document import Plan
from echofm_core.runtime.randomness import stream, torch_stream
from echofm_core.training.execution.devices import find_device
from echofm_core.training.objectives.finetune import SupervisedObjective, finetune_round
from echofm_core.training.objectives.losses import Tally
from echofm_core.training.objectives.pretrain import MaskedObjective, pretrain_round
from echofm_core.training.objectives.targets import labelled_targets
from echofm_core.training.stages import Stage
from echofm_core.training.steps.job import LocalContext, Objective, RoundReport

#: What each phase trains.
Model = MaskedPredictor | EchoModel


def phase_of(model: Model) -> Phase:
    """The phase that trains such a model."""
    return Phase.PRETRAIN if isinstance(model, MaskedPredictor) else Phase.FINETUNE


def build_model(plan: Plan, phase: Phase, stage: Stage) -> Model:
    """What a stage of a phase trains, with the weights that the plan's seed decides.

    Raises:
        EnvironmentClashError: Adapters are wanted, and peft is not installed.
    """
    if phase is Phase.FINETUNE:
        return build_tuned_model(plan)
    return build_latent_predictor(plan) if stage.latent else build_autoencoder(plan)


def own_round(model: Model, clips: ClipWindows, plan: Plan, context: LocalContext) -> RoundReport:
    """This process's part of a round, which is all of it where ``context.ranks`` is alone."""
    if isinstance(model, MaskedPredictor):
        return pretrain_round(model, clips, plan.pretrain, context)
    return finetune_round(model, clips, plan.finetune, context)


@torch.no_grad()
def validation_loss(
    model: Model, clips: ClipWindows, plan: Plan, *, site: str, device: str
) -> float | None:
    """Mean loss, summed over tasks, on the same windows and masks of held-out clips in every round.

    Windows and masks come from random streams of their own: whether a model is validated does not
    change what it is trained on. Nothing is augmented. The model is put into evaluation mode and
    onto the device.

    Returns:
        None where no clip has a label, or there is none.
    """
    where, table = find_device(device), plan.table_of(phase_of(model))
    model.to(where).eval()
    objective: Objective
    if isinstance(model, MaskedPredictor):
        masks = torch_stream(plan.seed, site, 0, f"{Phase.PRETRAIN}.validation.mask")
        objective = MaskedObjective(
            model=model, clips=clips, device=where, masks=masks, precision=table.precision
        )
        rows = np.arange(len(clips))
    else:
        labelled, rows = labelled_targets(clips.manifest, plan.finetune)
        targets = {task: torch.from_numpy(values) for task, values in labelled.items()}
        objective = SupervisedObjective(
            model=model, clips=clips, device=where, precision=table.precision, targets=targets
        )
    windows, tally = stream(plan.seed, site, 0, "validation.windows"), Tally()
    for start in range(0, len(rows), table.batch_size):
        for losses in objective(rows[start : start + table.batch_size], windows):
            tally.add(losses)
    return tally.metrics().get("loss")
