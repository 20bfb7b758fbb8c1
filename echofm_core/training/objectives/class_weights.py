"""Weights of classes that are met unevenly often."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echofm_core.tasks import Task
from echofm_core.training.config import ClassWeights, FinetuneConfig, class_count
from echofm_core.training.objectives.losses import Emphasis

#: Overlap of clips: n of them count as (1 - beta ** n) / (1 - beta), at most 1000 (Cui 2019).
BETA = 0.999


def emphasis_of(config: FinetuneConfig, targets: Mapping[Task, NDArray[np.float32]]) -> Emphasis:
    """What the plan's table makes of the site's labels.

    The site's own counts, where they are used, show in nothing but its loss and so its weights.

    Args:
        config: The plan's table.
        targets: Task -> float (N,) in model units, NaN = no label.
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

    Args:
        counts: Clips of each class; a class without any has the weight of one with a single clip.

    Source: Cui 2019 (class-balanced loss), equation 4.
    """
    clips = np.asarray(counts, dtype=np.float64)
    effective = (1 - BETA ** np.maximum(clips, 1)) / (1 - BETA)
    weights = 1 / effective
    mean = (clips * weights).sum() / max(clips.sum(), 1)
    return torch.from_numpy((weights / (mean or 1)).astype(np.float32))
