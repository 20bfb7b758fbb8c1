"""One small head a task on the fused features, and the grey levels that some read beside them.

A patch becomes one token, and where a wall stands within it is a small part of that token. Few
labels teach it late; grey levels of cells finer than a patch show it. They serve what is read from
a chamber that moves: a study's stills have no motion, and their heads do not see them.
"""

import torch
from torch import Tensor, nn

from echofm_core.models.pooling import log_deviation_over_time
from echofm_core.tasks import TASKS, Task

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
        DEVIATION_GAIN * (log_deviation_over_time(grey) + USUAL),
    ):
        by_row = torch.unflatten(fact, 1, (rows, cells))
        facts.append(torch.unflatten(by_row, 3, (-1, cells)).transpose(2, 3).flatten(3))
    return torch.cat(facts, dim=3).flatten(1, 2)


#: Standard deviation of a head's initial weights: its output starts near zero, which for a
#: regression is the population mean (targets are standardised) and for a class an even chance.
INITIAL_SCALE = 1e-3


class Head(nn.Module):
    """Layer norm and one linear map, so that training heads alone is a linear probe.

    Args:
        width: Length of the fused features.
        outputs: Numbers predicted.
        grey: Length of the grey levels that stand beside them. They are not normed: how much of a
            picture is dark says how large a chamber is, and a norm takes that away.
    """

    def __init__(self, width: int, outputs: int, grey: int = 0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.linear = nn.Linear(width + grey, outputs)

    def init_weights(self, generator: torch.Generator | None = None) -> None:
        """Start with predictions near zero."""
        nn.init.normal_(self.linear.weight, std=INITIAL_SCALE, generator=generator)

    def forward(self, features: Tensor, grey: Tensor | None = None) -> Tensor:
        """Features (B, width), and grey levels (B, grey), to predictions (B, outputs)."""
        seen = self.norm(features)
        if grey is not None:
            seen = torch.cat((seen, grey), dim=1)
        predicted: Tensor = self.linear(seen)
        return predicted


def build_head(task: Task, width: int, grey: int = 0) -> Head:
    """Head of a task: as many outputs as the task has."""
    return Head(width, TASKS[task].outputs, grey)
