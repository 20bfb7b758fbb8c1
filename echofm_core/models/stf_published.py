"""STF-Net in the shape of the released code, with its axes put right and no BatchNorm."""

import torch
from torch import Tensor, nn

from echofm_core.models.convolution import convolve
from echofm_core.models.masking import Subset
from echofm_core.models.patches import sinusoid
from echofm_core.models.pooling import GatedAttentionPool, TimeCode, in_grid

#: Hidden length L of the released gated-attention pools.
POOL_HIDDEN = 1024


class ResidualBottleneck(nn.Module):
    """Convolutions of 1 x 1, k and 1 x 1, each normed, ReLU between them; plus the input; ReLU.

    Args:
        width: Channels D; the middle has D / 2.
        kernel: (time, height, width) of the middle convolution. With a time extent of 1 it is the
            published 2D one; statistics of a norm then also span the slots.
    """

    def __init__(self, width: int, kernel: tuple[int, int, int]) -> None:
        super().__init__()
        inner = width // 2
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        self.body = nn.Sequential(
            nn.Conv3d(width, inner, 1, bias=False),
            nn.GroupNorm(_groups(inner), inner),
            nn.ReLU(),
            nn.Conv3d(inner, inner, kernel, padding=padding, bias=False),
            nn.GroupNorm(_groups(inner), inner),
            nn.ReLU(),
            nn.Conv3d(inner, width, 1, bias=False),
            nn.GroupNorm(_groups(width), width),
        )

    def forward(self, grid: Tensor) -> Tensor:
        """Grid (B, D, slots, rows, cols), same shape out."""
        moved: Tensor = (grid + convolve(self.body, grid)).relu()
        return moved


class PublishedStfNet(nn.Module):
    """Joint and disjoint pathway of the released code, with as many parameters: 126.4 M at base.

    Args:
        grid: (slots, rows, cols) of the encoder.
        width: Length D of an encoder token.

    Source: Echo-Vision-FM (2025), released code. Corrected: ``view`` where axes must be permuted,
    BatchNorm, the hard-coded 14 x 14 grid, and times in seconds instead of frame indices.
    """

    def __init__(self, grid: tuple[int, int, int], width: int) -> None:
        super().__init__()
        self.grid = grid
        _, rows, cols = grid
        self.joint_body = ResidualBottleneck(width, (3, 3, 3))
        self.joint_pool = GatedAttentionPool(width, POOL_HIDDEN, bias=False)
        self.slot_body = ResidualBottleneck(width, (1, 3, 3))
        # A convolution whose kernel covers the whole grid, without padding, is this linear map.
        self.slot_merge = nn.Linear(rows * cols * width, width)
        self.time_code = TimeCode(width)
        self.slot_pool = GatedAttentionPool(width, POOL_HIDDEN, bias=False)
        self.register_buffer("position", _grid_code(grid, width), persistent=False)
        self.out_width = 2 * width

    position: Tensor

    def forward(self, tokens: Tensor, times: Tensor, region: Subset | None = None) -> Tensor:
        """Fuse tokens (B, slots, p, D) and times (B, slots) to (B, 2 D).

        Positions that are not in the region are zero, as the edge of a convolution is.
        """
        grid = in_grid(tokens, region, self.grid)
        joint = self.joint_pool(self.joint(grid).flatten(1, 3))
        slots = self.slot_merge(self.space(grid).flatten(2)) + self.time_code(times)
        return torch.cat((joint, self.slot_pool(slots)), dim=1)

    def attention(self, tokens: Tensor, region: Subset | None = None) -> Tensor:
        """What the joint pathway weighs: (B, slots, rows, cols), sums to 1."""
        grid = in_grid(tokens, region, self.grid)
        weights = self.joint_pool.weights(self.joint(grid).flatten(1, 3))
        return torch.unflatten(weights.mean(dim=-1), 1, self.grid)

    def joint(self, grid: Tensor) -> Tensor:
        """Joint pathway before pooling, (B, slots, rows, cols, D)."""
        coded = grid + self.position.to(grid.dtype)
        return torch.movedim(self.joint_body(coded.movedim(-1, 1)), 1, -1)

    def space(self, grid: Tensor) -> Tensor:
        """Disjoint pathway before the slot's merge, (B, slots, rows, cols, D)."""
        return torch.movedim(self.slot_body(grid.movedim(-1, 1)), 1, -1)


def _groups(channels: int) -> int:
    """Groups of a GroupNorm: 32 where that divides the channels, else the largest divisor below."""
    return next(count for count in range(min(32, channels), 0, -1) if channels % count == 0)


def _grid_code(grid: tuple[int, int, int], width: int) -> Tensor:
    """Fixed 3D code (1, slots, rows, cols, D): a third of the channels for each axis."""
    share = -(-width // 6) * 2
    slots, rows, cols = (sinusoid(torch.arange(size), share, 10_000.0) for size in grid)
    axes = (slots[:, None, None], rows[:, None], cols)
    code = torch.cat([axis.expand(*grid, share) for axis in axes], dim=-1)
    return code[None, ..., :width].contiguous()
