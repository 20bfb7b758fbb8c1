"""STF-Net, compact form: both pathways of the published one at under a tenth of its size."""

import math
from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from echofm_core.models.config import StfPart
from echofm_core.models.convolution import convolve
from echofm_core.models.masking import Subset
from echofm_core.models.pooling import (
    GatedAttentionPool,
    TimeCode,
    in_grid,
    log_deviation_over_time,
)
from echofm_core.models.video_vit import transformer

#: Weightings of each gated-attention pool.
POOL_HEADS = 4
#: Channels that are kept of every position.
POSITION_WIDTH = 8
#: Blocks of self-attention over time slots.
TEMPORAL_DEPTH = 2
#: Channels of one attention head over time slots.
HEAD_WIDTH = 32


class JointPathway(nn.Module):
    """Space and time together: a residual bottleneck over the token grid, pooled over all tokens.

    Beside the pool stands the temporal deviation of each feature, pooled over positions; and, not
    pooled, a few channels of every position: the size of a chamber shows in where its walls are,
    which a weighted mean over positions loses.

    The 3 x 3 x 3 convolution is depthwise, so that local motion is read at a 1/width of the cost.
    Without ``deviation``, temporal means alone are handed on.
    """

    def __init__(self, grid: tuple[int, int, int], width: int, *, deviation: bool = True) -> None:
        super().__init__()
        inner = width // 2
        self.grid = grid
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.reduce = nn.Linear(width, inner)
        self.mix = nn.Conv3d(inner, inner, kernel_size=3, padding=1, groups=inner)
        self.mix_norm = nn.LayerNorm(inner, eps=1e-6)
        self.expand = nn.Linear(inner, inner)
        self.act = nn.GELU()
        self.pool = GatedAttentionPool(inner, inner, POOL_HEADS)
        self.swing_pool = GatedAttentionPool(inner, inner, POOL_HEADS) if deviation else None
        facts = 2 if deviation else 1
        self.narrow = nn.Linear(facts * inner, POSITION_WIDTH)
        self.out_width = facts * POOL_HEADS * inner + POSITION_WIDTH * grid[1] * grid[2]

    def forward(self, tokens: Tensor, region: Subset | None = None) -> Tensor:
        """Tokens (B, slots, p, D) to (B, out_width)."""
        body, valid = self.body(tokens, region), None if region is None else region.valid
        pooled: Tensor = self.pool(body.flatten(1, 2), self._valid_tokens(region))
        if self.swing_pool is None:
            return torch.cat((pooled, self.by_position(body.mean(dim=1), None, region)), dim=1)
        deviation = log_deviation_over_time(body)
        moved: Tensor = self.swing_pool(deviation, valid)
        placed = self.by_position(body.mean(dim=1), deviation, region)
        return torch.cat((pooled, moved, placed), dim=1)

    def by_position(self, mean: Tensor, deviation: Tensor | None, region: Subset | None) -> Tensor:
        """A few channels of each position's temporal mean and log deviation, both (B, p, D / 2).

        (B, POSITION_WIDTH * rows * cols), position by position; zero where there is no token.
        """
        facts = mean if deviation is None else torch.cat((mean, deviation), dim=-1)
        narrow = self.narrow(facts)
        return in_grid(narrow.unsqueeze(1), region, (1, *self.grid[1:])).flatten(1)

    def weights(self, tokens: Tensor, region: Subset | None = None) -> Tensor:
        """What the pool weighs: (B, slots, p), sums to 1; the mean over its heads."""
        body = self.body(tokens, region)
        weights = self.pool.weights(body.flatten(1, 2), self._valid_tokens(region))
        return torch.unflatten(weights.mean(dim=-1), 1, tokens.shape[1:3])

    def body(self, tokens: Tensor, region: Subset | None = None) -> Tensor:
        """Tokens before pooling, (B, slots, p, D / 2)."""
        reduced = self.reduce(self.norm(tokens))
        grid = in_grid(reduced, region, self.grid)
        mixed = convolve(self.mix, grid.movedim(-1, 1)).movedim(1, -1).flatten(2, 3)
        if region is not None:
            mixed = region.take(mixed, dim=2)
        body: Tensor = reduced + self.expand(self.act(self.mix_norm(mixed)))
        return body

    def _valid_tokens(self, region: Subset | None) -> Tensor | None:
        """Bool (B, slots * p), False where a token is padding."""
        slots, rows, cols = self.grid
        return None if region is None else region.in_every_slot(slots, rows * cols).valid


class DisjointPathway(nn.Module):
    """Space, then time: attention pooling in each slot, self-attention and pooling over slots.

    Beside the pool stands the temporal deviation over the slots, unless it is left out.
    """

    def __init__(self, width: int, *, deviation: bool = True) -> None:
        super().__init__()
        inner = width // 2
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.reduce = nn.Linear(width, inner)
        self.space_pool = GatedAttentionPool(inner, inner, POOL_HEADS)
        self.merge = nn.Linear(POOL_HEADS * inner, inner)
        self.time_code = TimeCode(inner)
        self.time_blocks = transformer(inner, TEMPORAL_DEPTH, max(1, inner // HEAD_WIDTH))
        self.time_norm = nn.LayerNorm(inner, eps=1e-6)
        self.time_pool = GatedAttentionPool(inner, inner, POOL_HEADS)
        self.deviation = deviation
        self.out_width = (POOL_HEADS + deviation) * inner

    def forward(self, tokens: Tensor, times: Tensor, region: Subset | None = None) -> Tensor:
        """Tokens (B, slots, p, D) and times (B, slots) to (B, out_width)."""
        seen = self.merge(self.space(tokens, region))
        slots = self.time_norm(self.time_blocks(seen + self.time_code(times)))
        pooled: Tensor = self.time_pool(slots)
        return (
            torch.cat((pooled, log_deviation_over_time(seen)), dim=1) if self.deviation else pooled
        )

    def space(self, tokens: Tensor, region: Subset | None = None) -> Tensor:
        """Each slot by itself, pooled over its positions: (B, slots, POOL_HEADS * D / 2)."""
        valid = None if region is None or region.valid is None else region.valid.unsqueeze(1)
        pooled: Tensor = self.space_pool(self.reduce(self.norm(tokens)), valid)
        return pooled


class LevelMix(nn.Module):
    """One token grid of what all stages of the encoder say: each normalised by itself, summed.

    Pre-training leaves the encoder's last blocks to reconstruction: what moves is then small beside
    what stands still, and read more easily from early stages (He 2022, section 4.3, tunes the last
    blocks for it). The weights of the norms say which stage counts for which feature.
    """

    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-6) for _ in range(levels))

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Tokens (B, N, D) of each stage to (B, N, D), at first of the scale of one stage."""
        total = torch.zeros_like(levels[0])
        for norm, level in zip(self.norms, levels, strict=True):  # no stack: it would double memory
            total = total + norm(level)
        return total / math.sqrt(len(levels))


class CompactStfNet(nn.Module):
    """Joint and disjoint pathway, concatenated.

    Against the published form the 14 x 14 convolution becomes attention pooling with several
    queries and, beside it, a few channels of every position; the 3D convolution is depthwise, slots
    exchange what they saw before they are pooled, and each pool has several weightings. The
    amplitude of a motion, from which ejection fraction is read, is a difference between moments
    that no weighted mean holds; so each pathway also gives the temporal deviation of its
    features, the joint one with weights of its own over positions: a chamber fills few of them.

    Args:
        grid: (slots, rows, cols) of the encoder.
        width: Length D of an encoder token.
        levels: Stages of the encoder that ``mix`` makes the tokens of.
        without: Parts that are left out; their attribute is None.

    Source: Echo-Vision-FM (2025), STF-Net; DESIGN.md, section 5.
    """

    def __init__(
        self,
        grid: tuple[int, int, int],
        width: int,
        levels: int,
        without: Collection[StfPart] = (),
    ) -> None:
        super().__init__()
        swings = StfPart.DEVIATION not in without
        self.mix = None if StfPart.STAGES in without else LevelMix(width, levels)
        self.joint = (
            None if StfPart.JOINT in without else JointPathway(grid, width, deviation=swings)
        )
        self.disjoint = (
            None if StfPart.DISJOINT in without else DisjointPathway(width, deviation=swings)
        )
        self.out_width = sum(path.out_width for path in (self.joint, self.disjoint) if path)

    def forward(self, tokens: Tensor, times: Tensor, region: Subset | None = None) -> Tensor:
        """Fuse tokens (B, slots, p, D) and times (B, slots) in seconds: (B, out_width).

        They are of the region's p space positions; None is all of the grid, rows first.
        """
        fused = []
        if self.joint is not None:
            fused.append(self.joint(tokens, region))
        if self.disjoint is not None:
            fused.append(self.disjoint(tokens, times, region))
        return torch.cat(fused, dim=1)

    def attention(self, tokens: Tensor, region: Subset | None = None) -> Tensor | None:
        """What the joint pathway weighs: (B, slots, rows, cols), sums to 1; mean over its heads.

        None where that pathway is left out.
        """
        if self.joint is None:
            return None
        weights = self.joint.weights(tokens, region).unsqueeze(-1)
        return in_grid(weights, region, self.joint.grid).squeeze(-1)
