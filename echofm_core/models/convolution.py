"""Convolutions over the token grid, in a precision whose gradients are right."""

import torch
from torch import Tensor, nn


def convolve(layers: nn.Module, grid: Tensor) -> Tensor:
    """Run convolutions on (B, C, slots, rows, cols): on a CPU in float32, also within autocast.

    There the bfloat16 gradient of a 3D convolution's weights reads memory that was never written
    (seen in PyTorch 2.14, with two slots): it is wrong, or so large that the step is skipped.
    """
    moved: Tensor
    if grid.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        with torch.autocast("cpu", enabled=False):
            moved = layers(grid.float())
    else:
        moved = layers(grid)
    return moved
