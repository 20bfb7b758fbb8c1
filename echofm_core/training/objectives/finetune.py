"""One local round of supervised training through STF-Net."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from echofm_core.contract import (
    ENCODER,
    HEADS,
    LOCAL_LORA_A,
    LOCAL_LORA_B,
    LORA_A,
    LORA_B,
    STF_NET,
    TRUNK,
    Phase,
    group_of,
)
from echofm_core.data.windows import ClipWindows, to_batch
from echofm_core.models.echo_model import EchoModel
from echofm_core.models.weights import named_weights
from echofm_core.runtime.randomness import torch_stream
from echofm_core.tasks import STANDARDISATION, Task
from echofm_core.training.augment import drawn_windows
from echofm_core.training.augmentation import AugmentationConfig
from echofm_core.training.config import FinetuneConfig, Precision, TuneMode
from echofm_core.training.execution.devices import autocast, find_device
from echofm_core.training.execution.forward import (
    Compiled,
    StochasticDepth,
    recomputed,
    stochastic_depth,
)
from echofm_core.training.execution.ranks import ALONE, Ranks, slices
from echofm_core.training.objectives.losses import (
    PLAIN,
    Emphasis,
    Losses,
    emphasis_of,
    nothing,
    supervised,
)
from echofm_core.training.objectives.targets import Standardisation, enlarged, labelled_targets
from echofm_core.training.steps.job import Indices, LocalContext, LocalJob, RoundReport
from echofm_core.training.steps.loop import train

#: Groups below the heads that each mode trains.
TRAINED = {
    TuneMode.LINEAR: (),
    TuneMode.STF_PROBE: (STF_NET,),
    TuneMode.LORA: (LORA_A, LORA_B, STF_NET),
    TuneMode.FULL: (ENCODER, STF_NET),
}


def trunk_of(config: FinetuneConfig) -> tuple[str, ...]:
    """Groups below the heads that fine-tuning changes."""
    fixed = LORA_A if config.lora.freeze_a else None
    return tuple(group for group in TRAINED[config.mode] if group != fixed)


def local_adapters(context: LocalContext) -> tuple[str, ...]:
    """Groups of the second adapters, where a site has them."""
    return tuple(sorted({*map(group_of, context.local)} & {LOCAL_LORA_A, LOCAL_LORA_B}))


def frozen_groups(config: FinetuneConfig) -> frozenset[str]:
    """Groups below the heads that no site's fine-tuning changes."""
    return frozenset(TRUNK) - set(trunk_of(config))


@contextmanager
def only_trainable(model: nn.Module, groups: Collection[str]) -> Iterator[None]:
    """Freeze everything but ``groups`` within the block; afterwards all is as it was.

    A frozen parameter has no gradient, takes no weight decay and no proximal pull.
    """
    named = named_weights(model)
    before = {name: item.requires_grad for name, item in named.items()}
    try:
        for name, item in named.items():
            item.requires_grad_(group_of(name) in groups)
        yield
    finally:
        for name, item in named.items():
            item.requires_grad_(before[name])
            item.grad = None


def finetune_round(
    model: EchoModel, clips: ClipWindows, config: FinetuneConfig, context: LocalContext
) -> RoundReport:
    """Train what the mode allows, in place, each head on the clips that have its label.

    Clips without any label of ``config.tasks`` are left out.

    Raises:
        EmptySiteError: No clip has a label of any task.
        DivergedError: The loss stays non-finite.
        PrivacyError: Privacy was asked for and cannot be had, or its budget is spent.
    """
    execution, device = context.execution, find_device(context.execution.device)
    targets, rows = labelled_targets(clips.manifest, config)
    purpose = f"{context.named(Phase.FINETUNE)}.drop_path"
    paths = torch_stream(context.seed, context.site, context.round, purpose)
    trunk = trunk_of(config) + local_adapters(context)
    heads = {task: f"{HEADS}.{task.value}" for task in targets}
    drop_path = config.drop_path if {ENCODER, LORA_B} & set(trunk) else 0.0
    with (
        only_trainable(model, {*trunk, *heads.values()}),
        recomputed(model, execution.checkpoint_blocks),
        stochastic_depth(model.encoder.blocks, drop_path, paths) as depth,
    ):
        objective = SupervisedObjective(
            model=model,
            clips=clips,
            device=device,
            precision=context.precision(config),
            targets={task: torch.from_numpy(target) for task, target in targets.items()},
            augmentation=config.augmentation if config.augment else None,
            scaling=config.standardisation,
            emphasis=emphasis_of(config, targets),
            depth=depth,
            compiled=Compiled(model) if execution.compile else None,
            ranks=context.ranks,
        )
        job = LocalJob(
            phase=Phase.FINETUNE,
            model=model.to(device),
            objective=objective,
            clips=rows,
            manifest=clips.manifest,
            config=config,
            context=context,
            generators={"drop_path": paths},
        )
        metrics = train(job)
    labels = {head: int(np.isfinite(targets[task]).sum()) for task, head in heads.items()}
    return RoundReport(counts=dict.fromkeys(trunk, len(rows)) | labels, metrics=metrics)


@dataclass(frozen=True, kw_only=True, slots=True)
class SupervisedObjective:
    """Losses of a fresh, perhaps augmented window of each clip.

    Attributes:
        model: On ``device``.
        targets: Task -> float (N,) in model units, NaN = no label; tasks without labels absent.
        augmentation: Changes of the windows; None leaves them. Volumes change with the size.
        scaling: The plan's standardisation of targets.
    """

    model: EchoModel
    clips: ClipWindows
    device: torch.device
    precision: Precision
    targets: Mapping[Task, Tensor]
    augmentation: AugmentationConfig | None = None
    scaling: Standardisation = field(default_factory=lambda: STANDARDISATION)
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
