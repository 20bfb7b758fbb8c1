"""The two phases: which model each trains, and this process's part of a round."""

import numpy as np
import torch

from echofm_core.contract import Phase
from echofm_core.data.windows import ClipWindows
from echofm_core.models.echo_model import EchoModel
from echofm_core.models.masked_autoencoder import MaskedAutoencoder
from echofm_core.plan.document import Plan
from echofm_core.runtime.randomness import stream, torch_stream
from echofm_core.training.execution.devices import find_device
from echofm_core.training.objectives.finetune import SupervisedObjective, finetune_round
from echofm_core.training.objectives.losses import Tally
from echofm_core.training.objectives.pretrain import ReconstructionObjective, pretrain_round
from echofm_core.training.objectives.targets import targets_of
from echofm_core.training.steps.job import Indices, LocalContext, Objective, RoundReport

#: What each phase trains.
Model = MaskedAutoencoder | EchoModel


def phase_of(model: Model) -> Phase:
    """The phase that trains such a model."""
    return Phase.PRETRAIN if isinstance(model, MaskedAutoencoder) else Phase.FINETUNE


def own_round(model: Model, clips: ClipWindows, plan: Plan, context: LocalContext) -> RoundReport:
    """This process's part of a round, which is all of it where ``context.ranks`` is alone."""
    if isinstance(model, MaskedAutoencoder):
        return pretrain_round(model, clips, plan.pretrain, context)
    return finetune_round(model, clips, plan.finetune, context)


@torch.no_grad()
def validation_loss(
    model: Model, clips: ClipWindows, plan: Plan, *, site: str, device: str
) -> float | None:
    """Mean loss, summed over tasks; None where no clip has a label, or there is none.

    Args:
        model: Put into evaluation mode and onto the device.
        clips: Held-out clips.
        plan: The seed, and the table of the phase that the model is of.
        site: Keys the random streams.
        device: As the plan names it.
    """
    model.to(find_device(device)).eval()
    objective, rows = _objective(model, clips, plan, site, device)
    windows, tally = stream(plan.seed, site, 0, "validation.windows"), Tally()
    size = plan.table_of(phase_of(model)).batch_size
    for start in range(0, len(rows), size):
        for losses in objective(rows[start : start + size], windows):
            tally.add(losses)
    return tally.metrics().get("loss")


def _objective(
    model: Model, clips: ClipWindows, plan: Plan, site: str, device: str
) -> tuple[Objective, Indices]:
    """What training minimises, without augmentation, and the rows that it can be had on."""
    where = find_device(device)
    if isinstance(model, MaskedAutoencoder):
        masks = torch_stream(plan.seed, site, 0, f"{Phase.PRETRAIN}.validation.mask")
        reconstruction = ReconstructionObjective(
            model=model, clips=clips, device=where, masks=masks, precision=plan.pretrain.precision
        )
        return reconstruction, np.arange(len(clips))
    config = plan.finetune
    targets = targets_of(
        clips.manifest, config.tasks, config.reduced_ef_threshold, config.standardisation
    )
    labelled = {
        task: torch.from_numpy(values)
        for task, values in targets.items()
        if np.isfinite(values).any()
    }
    rows = np.flatnonzero(np.isfinite(list(targets.values())).any(axis=0))
    supervised = SupervisedObjective(
        model=model, clips=clips, device=where, precision=config.precision, targets=labelled
    )
    return supervised, rows
