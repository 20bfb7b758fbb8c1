"""One local round of supervised training through STF-Net."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from echofm_core.contract import HEADS, Phase
from echofm_core.data.windows import ClipWindows, to_batch
from echofm_core.models.echo_model import EchoModel
from echofm_core.privacy.config import PrivacyKind
from echofm_core.tasks import Task
from echofm_core.training.augment import Augmentation
from echofm_core.training.config import FinetuneConfig
from echofm_core.training.context import LocalContext, RoundReport
from echofm_core.training.devices import autocast, find_device
from echofm_core.training.freeze import TRUNK, finetuned_groups, only_trainable
from echofm_core.training.job import Indices, LocalJob
from echofm_core.training.loop import train
from echofm_core.training.losses import Losses, supervised
from echofm_core.training.targets import targets_of


def finetune_round(
    model: EchoModel, clips: ClipWindows, config: FinetuneConfig, context: LocalContext
) -> RoundReport:
    """Train what the mode allows, each head on the clips that have its label.

    Clips without any label of ``config.tasks`` are left out.

    Args:
        model: Changed in place; the FedProx term pulls towards the weights that it comes with.
        clips: Training windows of the site.
        config: The plan's table.
        context: Where in the federation this round stands.

    Raises:
        EmptySiteError: No clip has a label of any task.
        TrainingError: The loss stays non-finite.
        PrivacyError: Privacy was asked for and cannot be had, or its budget is spent.
    """
    device = find_device(context.device)
    targets = targets_of(clips.manifest, config.tasks, config.reduced_ef_threshold)
    counts = {task: int(np.isfinite(target).sum()) for task, target in targets.items()}
    labelled = [task for task, count in counts.items() if count]
    rows = np.flatnonzero(np.isfinite(list(targets.values())).any(axis=0))
    with only_trainable(model, finetuned_groups(config.mode, labelled)):
        metrics = train(
            LocalJob(
                phase=Phase.FINETUNE,
                model=model.to(device),
                objective=SupervisedObjective(
                    model=model,
                    clips=clips,
                    device=device,
                    mixed=context.privacy.kind is PrivacyKind.NONE,
                    targets={task: torch.from_numpy(targets[task]) for task in labelled},
                    augmentation=Augmentation() if config.augment else None,
                ),
                clips=rows,
                manifest=clips.manifest,
                config=config,
                context=context,
            )
        )
    return RoundReport(
        counts=dict.fromkeys(TRUNK[config.mode], len(rows))
        | {f"{HEADS}.{task.value}": counts[task] for task in labelled},
        metrics=metrics,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class SupervisedObjective:
    """Losses of a fresh, perhaps augmented window of each clip.

    Attributes:
        model: On ``device``.
        clips: Where windows come from.
        device: Where the model is.
        mixed: Use the device's mixed precision; a clipped gradient's norm must be exact.
        targets: Task -> float (N,) in model units, NaN = no label; tasks without labels absent.
        augmentation: Applied to the frames; None leaves them.
    """

    model: EchoModel
    clips: ClipWindows
    device: torch.device
    mixed: bool
    targets: Mapping[Task, Tensor]
    augmentation: Augmentation | None

    def __call__(self, rows: Indices, rng: np.random.Generator) -> Losses:
        """Losses of rows (B,)."""
        windows = [self.clips.train_window(int(row), rng) for row in rows]
        if self.augmentation:
            windows = [
                replace(window, frames=self.augmentation(window.frames, rng)) for window in windows
            ]
        batch = to_batch(windows)
        chosen = torch.from_numpy(rows)
        targets = {task: values[chosen].to(self.device) for task, values in self.targets.items()}
        with autocast(self.device, self.mixed):
            outputs = self.model(batch.video.to(self.device), batch.times.to(self.device))
        return supervised(outputs, targets)
