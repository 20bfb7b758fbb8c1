"""Losses kept apart by sample and task, so that labels may be missing and privacy can be had."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from echofm_core.tasks import TASKS, Task, TaskKind
from echofm_core.training.config import ClassWeights, FinetuneConfig, class_count
from echofm_core.training.execution.ranks import Ranks


@dataclass(frozen=True, slots=True)
class Losses:
    """Losses of one batch, or of a part of it.

    Attributes:
        names: K task names.
        values: Float (B, K); 0 where not counted.
        counted: Bool (B, K), True where the sample has that label.
        totals: Long (K,), samples with that label in the whole batch; None where this is all of it.
    """

    names: tuple[str, ...]
    values: Tensor
    counted: Tensor
    totals: Tensor | None = None

    def of_batch(self) -> Tensor:
        """Each task's mean over its labelled samples, summed over tasks.

        Those of the parts of a batch add up to that of the batch, however unevenly labels fell.
        """
        return self.task_means().sum()

    def of_samples(self) -> Tensor:
        """Float (B,): each sample's own sum over tasks; no sample's value depends on another."""
        return self.values.sum(dim=1)

    def task_means(self) -> Tensor:
        """Float (K,): sum over the labelled samples of the whole batch's; 0 for a task without."""
        totals = self.counted.sum(dim=0) if self.totals is None else self.totals
        return self.values.sum(dim=0) / totals.clamp(min=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Emphasis:
    """Which samples of a classification count more than others.

    Attributes:
        gamma: Exponent of focal loss, at least 0; 0 is plain cross-entropy.
        weights: Task -> float (C,) weight of each class; a task that is absent has none.

    Source: Lin 2017 (focal loss), equation 4.
    """

    gamma: float = 0.0
    weights: Mapping[Task, Tensor] = field(default_factory=dict)

    def of(self, task: Task, loss: Tensor, target: Tensor) -> Tensor:
        """Cross-entropies (B,) of classes (B,), weighted."""
        if self.gamma:
            missed = -torch.expm1(-loss)  # 1 - p: the loss is -log p of the true class
            loss = loss * missed.clamp(min=1e-6) ** self.gamma
        if task in self.weights:
            loss = loss * self.weights[task].to(loss.device)[target.long()]
        return loss


#: All alike.
PLAIN = Emphasis()


def unsupervised(values: Tensor, total: int | None = None) -> Losses:
    """Wrap losses (B,) that every sample has; ``total`` is the size of the whole batch."""
    column = values.unsqueeze(1)
    totals = None if total is None else torch.tensor([total], device=values.device)
    return Losses(("reconstruction",), column, torch.ones_like(column, dtype=torch.bool), totals)


def nothing(tasks: Collection[Task], totals: Tensor) -> Losses:
    """Losses of no sample of a batch; ``totals`` as :class:`Losses` has it."""
    values = torch.zeros(0, len(tasks), device=totals.device)
    return Losses(tuple(task.value for task in tasks), values, values.bool(), totals)


def supervised(
    outputs: Mapping[Task, Tensor],
    targets: Mapping[Task, Tensor],
    emphasis: Emphasis = PLAIN,
    totals: Tensor | None = None,
) -> Losses:
    """Smooth L1 for regression, cross-entropy for classes, binary cross-entropy.

    Args:
        outputs: Task -> (B, outputs) of the model.
        targets: Task -> float (B,) in model units, NaN = no label; these tasks alone count.
        totals: As :class:`Losses` has it.
    """
    counted = torch.stack([~target.isnan() for target in targets.values()], dim=1)
    losses = [
        _task_loss(task, outputs[task].float(), target, emphasis)
        for task, target in targets.items()
    ]
    names = tuple(task.value for task in targets)
    return Losses(names, torch.stack(losses, dim=1), counted, totals)


def _task_loss(task: Task, output: Tensor, target: Tensor, emphasis: Emphasis) -> Tensor:
    """Float (B,); exactly 0, gradient too, where the target is NaN."""
    labelled = ~target.isnan()
    filled = target.nan_to_num(0.0)
    match TASKS[task].kind:
        case TaskKind.REGRESSION:
            loss = F.smooth_l1_loss(output[:, 0], filled, reduction="none")
        case TaskKind.BINARY:
            loss = F.binary_cross_entropy_with_logits(output[:, 0], filled, reduction="none")
            loss = emphasis.of(task, loss, filled)
        case TaskKind.MULTICLASS:
            loss = F.cross_entropy(output, filled.long(), reduction="none")
            loss = emphasis.of(task, loss, filled)
    return torch.where(labelled, loss, torch.zeros_like(loss))


class Tally:
    """Mean losses of a round, each task over its labelled clips.

    Args:
        sums: Task name -> sum of its losses, and of how many clips; kept as JSON to the bit.
    """

    def __init__(self, sums: Mapping[str, Sequence[float]] | None = None) -> None:
        self.sums = dict(sums or {})

    def add(self, losses: Losses) -> None:
        """Count one batch, or one part of it."""
        sums, counts = losses.values.detach().double().sum(dim=0), losses.counted.sum(dim=0)
        new = torch.stack((sums, counts.double()), dim=1).tolist()
        for name, (loss, clips) in zip(losses.names, new, strict=True):
            before = self.sums.get(name, (0.0, 0.0))
            self.sums[name] = before[0] + loss, before[1] + clips

    def over(self, ranks: Ranks) -> Tally:
        """What all processes of the round counted together; all ask for it."""
        if not self.sums:
            return self  # without a usable batch no process has counted anything
        totals = ranks.total(torch.tensor([*self.sums.values()], dtype=torch.float64))
        return Tally(dict(zip(self.sums, totals.tolist(), strict=True)))

    def emptied(self) -> Tally:
        """The same tasks, and nothing counted."""
        return Tally(dict.fromkeys(self.sums, (0.0, 0.0)))

    def metrics(self) -> dict[str, float]:
        """``loss``, the sum over tasks, and ``loss/<task>`` where there are several."""
        means = {f"loss/{name}": loss / max(clips, 1) for name, (loss, clips) in self.sums.items()}
        total = {"loss": sum(means.values())} if means else {}
        return total | means if len(means) > 1 else total


#: Overlap of clips: n of them count as (1 - beta ** n) / (1 - beta), at most 1000 (Cui 2019).
BETA = 0.999


def emphasis_of(config: FinetuneConfig, targets: Mapping[Task, NDArray[np.float32]]) -> Emphasis:
    """What the plan's table makes of the site's labels: float (N,) in model units, NaN = no label.

    The site's own counts, where they are used, show in nothing but its loss and so its weights.
    """
    weights: dict[Task, Tensor] = {}
    if config.class_weights is ClassWeights.BALANCED:
        for task, target in targets.items():
            if classes := class_count(task):
                own = np.bincount(target[np.isfinite(target)].astype(int), minlength=classes)
                weights[task] = balanced(config.class_counts.get(task, tuple(own.tolist())))
    return Emphasis(gamma=config.focal_gamma, weights=weights)


def balanced(counts: Sequence[int]) -> Tensor:
    """Float32 (C,): inverse of each class's effective number, with mean 1 over the clips.

    A class without any clip has the weight of one with a single clip.

    Source: Cui 2019 (class-balanced loss), equation 4.
    """
    clips = np.asarray(counts, dtype=np.float64)
    effective = (1 - BETA ** np.maximum(clips, 1)) / (1 - BETA)
    weights = 1 / effective
    mean = (clips * weights).sum() / max(clips.sum(), 1)
    return torch.from_numpy((weights / (mean or 1)).astype(np.float32))
