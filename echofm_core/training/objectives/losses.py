"""Losses kept apart by sample and task, so that labels may be missing and privacy can be had."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from echofm_core.tasks import TASKS, Task, TaskKind


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
    """Losses of the tasks in ``targets``.

    Args:
        outputs: Task -> (B, outputs) of the model.
        targets: Task -> float (B,) in model units, NaN = no label.
        emphasis: Of classifications.
        totals: As :class:`Losses` has it.

    Returns:
        Smooth L1 for regression, cross-entropy for classes, binary cross-entropy.
    """
    counted = torch.stack([~target.isnan() for target in targets.values()], dim=1)
    values = torch.stack(
        [
            _task_loss(task, outputs[task].float(), target, emphasis)
            for task, target in targets.items()
        ],
        dim=1,
    )
    return Losses(tuple(task.value for task in targets), values, counted, totals)


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
