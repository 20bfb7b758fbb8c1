"""How many directions the features of an encoder use: a look at pre-training without labels."""

import math

import torch
from torch import Tensor


def effective_rank(features: Tensor) -> float:
    """Exponential of the entropy of the singular values, taken as shares of their sum.

    1 where all rows are multiples of one, n where n directions are used alike; never above the
    smaller of both sides. Features that collapse have a small one, whatever the loss says.

    Args:
        features: Float (N, D), a row a clip; as they are, without their mean taken off.

    Returns:
        In [1, min(N, D)]; 0 for zeros alone, NaN where one is not finite.

    Source: Roy and Vetterli 2007; of pre-trained features RankMe (Garrido 2023), equation 1.
    """
    if not features.isfinite().all():
        return math.nan
    values = torch.linalg.svdvals(features.double())
    total = values.sum()
    return torch.special.entr(values / total).sum().exp().item() if total > 0 else 0.0
