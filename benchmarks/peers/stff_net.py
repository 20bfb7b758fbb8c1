"""The published fusion network before any correction, written anew from its description.

Echo-Vision-FM (2025), released code: a joint pathway (3D residual bottleneck, gated attention over
all tokens), a disjoint one (2D residual bottleneck and a convolution over the whole grid in each
time slot, then gated attention over slots), concatenated, and a head. Its mistakes are kept: both
pathways re-cut their features with ``view`` where axes should be permuted.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

#: Hidden length of the gated-attention pools, and widths of the head.
POOL_HIDDEN = 1024
HEAD_WIDTHS = (200, 100)


class Bottleneck(nn.Module):
    """Convolutions of 1, 3 and 1, each normed, ReLU between them; plus the input; ReLU.

    Args:
        axes: 2 or 3, of the convolutions.
        width: Channels; the middle has half.
    """

    def __init__(self, axes: int, width: int) -> None:
        super().__init__()
        conv, norm = ((nn.Conv2d, nn.BatchNorm2d), (nn.Conv3d, nn.BatchNorm3d))[axes - 2]
        inner = width // 2
        self.body = nn.Sequential(
            conv(width, inner, 1, bias=False),
            norm(inner),
            nn.ReLU(),
            conv(inner, inner, 3, padding=1, bias=False),
            norm(inner),
            nn.ReLU(),
            conv(inner, width, 1, bias=False),
            norm(width),
        )

    def forward(self, grid: Tensor) -> Tensor:
        """Grid (B, D, ...), same shape out."""
        moved: Tensor = (grid + self.body(grid)).relu()
        return moved


class Pool(nn.Module):
    """Gated attention (Ilse 2018).

    Args:
        width: Length D of a token.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.value = nn.Linear(width, POOL_HIDDEN, bias=False)
        self.gate = nn.Linear(width, POOL_HIDDEN, bias=False)
        self.score = nn.Linear(POOL_HIDDEN, 1, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, N, D) to (B, D)."""
        gated = self.value(tokens).tanh() * self.gate(tokens).sigmoid()
        weights = self.score(gated).softmax(dim=1)
        return (weights.transpose(1, 2) @ tokens).squeeze(1)


class StffNet(nn.Module):
    """Both pathways.

    Args:
        grid: (slots, rows, cols) of the encoder's tokens.
        width: Their length D.
    """

    position: Tensor

    def __init__(self, grid: tuple[int, int, int], width: int) -> None:
        super().__init__()
        self.grid, self.width = grid, width
        share = -(-width // 6) * 2
        axes = torch.meshgrid(*(torch.arange(size).float() for size in grid), indexing="ij")
        code = torch.cat([sinusoid(axis, share) for axis in axes], dim=-1)[..., :width]
        self.register_buffer("position", code)
        self.joint = Bottleneck(3, width)
        self.joint_pool = Pool(width)
        self.space = Bottleneck(2, width)
        self.merge = nn.Conv2d(width, width, grid[1:])
        self.time_code = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.time_pool = Pool(width)

    def forward(self, tokens: Tensor, frames: Tensor) -> Tensor:
        """Tokens (B, N, D) and the index of each frame in its clip (B, T), to (B, 2 D)."""
        batch, (slots, rows, cols), width = len(tokens), self.grid, self.width
        grid = tokens.reshape(batch, slots, rows, cols, width)
        volume = self.joint((grid + self.position).permute(0, 4, 1, 2, 3))
        joint = self.joint_pool(volume.contiguous().view(batch, -1, width))
        planes = self.space(grid.contiguous().view(batch * slots, width, rows, cols))
        merged = self.merge(planes).view(batch, slots, width)
        code = sinusoid(frames, width).unflatten(1, (slots, -1)).mean(dim=2)
        return torch.cat((joint, self.time_pool(merged + self.time_code(code))), dim=1)


def head(width: int) -> nn.Sequential:
    """Perceptron from the fused features to one number, with BatchNorm."""
    first, second = HEAD_WIDTHS
    return nn.Sequential(
        nn.Linear(width, first), nn.BatchNorm1d(first), nn.ReLU(),
        nn.Linear(first, second), nn.BatchNorm1d(second), nn.ReLU(),
        nn.Linear(second, 1),
    )  # fmt: skip


def sinusoid(values: Tensor, width: int) -> Tensor:
    """Sines and cosines (..., width) of positions."""
    rates = torch.exp(torch.arange(0, width, 2, device=values.device) * (-math.log(1e4) / width))
    angles = values.unsqueeze(-1) * rates
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)
