"""Losses kept apart by sample and task, so that labels may be missing and privacy can be had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from echofm_core.tasks import TASKS, Task, TaskKind


@dataclass(frozen=True, slots=True)
class Losses:
    """Losses of one batch.

    Attributes:
        names: K task names.
        values: Float (B, K); 0 where not counted.
        counted: Bool (B, K), True where the sample has that label.
    """

    names: tuple[str, ...]
    values: Tensor
    counted: Tensor

    def of_batch(self) -> Tensor:
        """Each task's mean over its labelled samples, summed over tasks."""
        return self.task_means().sum()

    def of_samples(self) -> Tensor:
        """Float (B,): each sample's own sum over tasks; no sample's value depends on another."""
        return self.values.sum(dim=1)

    def task_means(self) -> Tensor:
        """Float (K,): mean over labelled samples; 0 for a task without any in the batch."""
        return self.values.sum(dim=0) / self.counted.sum(dim=0).clamp(min=1)


def unsupervised(values: Tensor) -> Losses:
    """Wrap losses (B,) that every sample has."""
    column = values.unsqueeze(1)
    return Losses(("reconstruction",), column, torch.ones_like(column, dtype=torch.bool))


def supervised(outputs: Mapping[Task, Tensor], targets: Mapping[Task, Tensor]) -> Losses:
    """Losses of the tasks in ``targets``.

    Args:
        outputs: Task -> (B, outputs) of the model.
        targets: Task -> float (B,) in model units, NaN = no label.

    Returns:
        Smooth L1 for regression, cross-entropy for classes, binary cross-entropy.
    """
    counted = torch.stack([~target.isnan() for target in targets.values()], dim=1)
    values = torch.stack(
        [_task_loss(task, outputs[task].float(), target) for task, target in targets.items()],
        dim=1,
    )
    return Losses(tuple(task.value for task in targets), values, counted)


def _task_loss(task: Task, output: Tensor, target: Tensor) -> Tensor:
    """Float (B,); exactly 0, gradient too, where the target is NaN."""
    labelled = ~target.isnan()
    filled = target.nan_to_num(0.0)
    match TASKS[task].kind:
        case TaskKind.REGRESSION:
            loss = F.smooth_l1_loss(output[:, 0], filled, reduction="none")
        case TaskKind.BINARY:
            loss = F.binary_cross_entropy_with_logits(output[:, 0], filled, reduction="none")
        case TaskKind.MULTICLASS:
            loss = F.cross_entropy(output, filled.long(), reduction="none")
    return torch.where(labelled, loss, torch.zeros_like(loss))
