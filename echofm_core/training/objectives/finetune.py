"""One local round of supervised training through STF-Net."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echofm_core.contract import ENCODER, HEADS, LORA_B, Phase
from echofm_core.data.windows import ClipWindows, to_batch
from echofm_core.models.echo_model import EchoModel
from echofm_core.runtime.randomness import torch_stream
from echofm_core.tasks import Task
from echofm_core.training.augment import drawn_windows
from echofm_core.training.config import AugmentationConfig, FinetuneConfig, Precision
from echofm_core.training.execution.devices import autocast, find_device
from echofm_core.training.execution.forward import Compiled, recomputed
from echofm_core.training.execution.ranks import ALONE, Ranks, slices
from echofm_core.training.objectives.freeze import finetuned_groups, only_trainable, trunk_of
from echofm_core.training.objectives.losses import (
    PLAIN,
    Emphasis,
    Losses,
    emphasis_of,
    nothing,
    supervised,
)
from echofm_core.training.objectives.targets import Standardisation, enlarged, targets_of
from echofm_core.training.steps.drop_path import StochasticDepth, stochastic_depth
from echofm_core.training.steps.job import Indices, LocalContext, LocalJob, RoundReport
from echofm_core.training.steps.loop import train


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
    targets = targets_of(
        clips.manifest, config.tasks, config.reduced_ef_threshold, config.standardisation
    )
    counts = {task: int(np.isfinite(target).sum()) for task, target in targets.items()}
    labelled = {task: target for task, target in targets.items() if counts[task]}
    rows = np.flatnonzero(np.isfinite(list(targets.values())).any(axis=0))
    paths = torch_stream(context.seed, context.site, context.round, f"{Phase.FINETUNE}.drop_path")
    trunk = trunk_of(config)
    drop_path = config.drop_path if {ENCODER, LORA_B} & set(trunk) else 0.0
    with (
        only_trainable(model, finetuned_groups(config, labelled)),
        recomputed(model, context.execution.checkpoint_blocks),
        stochastic_depth(model.encoder.blocks, drop_path, paths) as depth,
    ):
        metrics = train(
            LocalJob(
                phase=Phase.FINETUNE,
                model=model.to(find_device(context.execution.device)),
                objective=_objective(model, clips, config, context, labelled, depth),
                clips=rows,
                manifest=clips.manifest,
                config=config,
                context=context,
                generators={"drop_path": paths},
            )
        )
    return RoundReport(
        counts=dict.fromkeys(trunk, len(rows))
        | {f"{HEADS}.{task.value}": counts[task] for task in labelled},
        metrics=metrics,
    )


def _objective(
    model: EchoModel,
    clips: ClipWindows,
    config: FinetuneConfig,
    context: LocalContext,
    targets: Mapping[Task, NDArray[np.float32]],
    depth: StochasticDepth | None,
) -> SupervisedObjective:
    """What the plan says is minimised."""
    return SupervisedObjective(
        model=model,
        clips=clips,
        device=find_device(context.execution.device),
        precision=context.precision(config),
        targets={task: torch.from_numpy(target) for task, target in targets.items()},
        augmentation=config.augmentation if config.augment else None,
        scaling=config.standardisation,
        emphasis=emphasis_of(config, targets),
        depth=depth,
        compiled=Compiled(model) if context.execution.compile else None,
        ranks=context.ranks,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class SupervisedObjective:
    """Losses of a fresh, perhaps augmented window of each clip.

    Attributes:
        model: On ``device``.
        clips: Where windows come from.
        device: Where the model is.
        precision: Number format of its products.
        targets: Task -> float (N,) in model units, NaN = no label; tasks without labels absent.
        augmentation: Changes of the windows; None leaves them. Volumes change with the size.
        scaling: The plan's standardisation of targets.
        emphasis: Of classifications.
        depth: Stochastic depth of the model's encoder.
        compiled: The model, compiled.
        ranks: This process among those that share each batch.
    """

    model: EchoModel
    clips: ClipWindows
    device: torch.device
    precision: Precision
    targets: Mapping[Task, Tensor]
    augmentation: AugmentationConfig | None = None
    scaling: Standardisation = field(default_factory=dict)
    emphasis: Emphasis = PLAIN
    depth: StochasticDepth | None = None
    compiled: Callable[..., Any] | None = None
    ranks: Ranks = ALONE

    def __call__(self, rows: Indices, rng: np.random.Generator, parts: int = 1) -> Iterator[Losses]:
        """Losses of this process's part of rows (B,), part by part."""
        own = self.ranks.share(len(rows))
        drawn = drawn_windows(self.clips, rows, self.augmentation, rng, own)
        scales = self.depth.draw(len(rows))[own].to(self.device) if self.depth else None
        chosen = torch.from_numpy(rows)
        targets = {task: values[chosen].to(self.device) for task, values in self.targets.items()}
        totals = torch.stack([(~target.isnan()).sum() for target in targets.values()])
        if not drawn.windows:
            yield nothing(targets, totals)
            return
        batch = to_batch(drawn.windows)
        volumes = torch.from_numpy(drawn.volumes).to(self.device)
        targets = {
            task: enlarged(task, target[own], volumes, self.scaling)
            for task, target in targets.items()
        }
        run = self.compiled or self.model
        for part in slices(len(drawn.windows), parts):
            if self.depth and scales is not None:
                self.depth.use(scales[part])
            with autocast(self.device, self.precision):
                outputs = run(*self.model.inputs(batch.rows(part), self.device))
            some = {task: target[part] for task, target in targets.items()}
            yield supervised(outputs, some, self.emphasis, totals)
