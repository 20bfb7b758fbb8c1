"""Grey levels as they are, finer than a patch: how bright each cell is, and how much it changes.

A patch becomes one token, and where a wall stands within it is a small part of that token. Few
labels teach it late; here it is read off. It serves what is read from a chamber that moves: a
study's stills have no motion, and their heads do not see it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from echofm_core.models.pooling import swing_over_time

#: Most cells along each side of a patch.
CELLS = 4
#: Added to a logarithm of a deviation, so that a usual one is about zero.
USUAL = 1.5
#: What brings both facts to about unit deviation over patients, as a head's norm brings features:
#: a head learns slowly what is small beside the rest.
MEAN_GAIN, DEVIATION_GAIN = 4.0, 2.0


def cells_of(patch: int) -> int:
    """Cells along each side of a patch of so many pixels: at most :data:`CELLS`, of one size."""
    return max(count for count in range(1, CELLS + 1) if patch % count == 0)


def grey_width(patch: int) -> int:
    """Length of what :func:`grey_cells` says of a patch."""
    return 2 * cells_of(patch) ** 2


def grey_cells(video: Tensor, patch: int) -> Tensor:
    """Mean over time of each cell's grey level, and the logarithm of its deviation.

    Args:
        video: Float (B, T, 1, S, S), normalised grey.
        patch: Side of a patch, in pixels.

    Returns:
        Float (B, p, :func:`grey_width`) of all p patch positions, rows first.
    """
    cells = cells_of(patch)
    side, rows = patch // cells, video.shape[-2] // patch
    grid = torch.unflatten(video[:, :, 0], 2, (rows * cells, side))
    grey = torch.unflatten(grid, 4, (-1, side)).mean(dim=(3, 5))
    facts = []
    for fact in (
        MEAN_GAIN * grey.mean(dim=1),
        DEVIATION_GAIN * (swing_over_time(grey) + USUAL),
    ):
        by_row = torch.unflatten(fact, 1, (rows, cells))
        facts.append(torch.unflatten(by_row, 3, (-1, cells)).transpose(2, 3).flatten(3))
    return torch.cat(facts, dim=3).flatten(1, 2)
