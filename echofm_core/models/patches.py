"""Cutting a video into tubelet patches, one token each, and putting it together again."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from echofm_core.data.config import DataConfig
from echofm_core.models.config import ModelConfig


@dataclass(frozen=True, slots=True)
class PatchGrid:
    """Geometry of the tokens: token = (slot * rows + row) * cols + col.

    Attributes:
        slots, rows, cols: Tokens along time, height and width.
        tubelet: Frames of one patch.
        patch: Side of one patch, in pixels.
    """

    slots: int
    rows: int
    cols: int
    tubelet: int
    patch: int

    @classmethod
    def of(cls, model: ModelConfig, data: DataConfig) -> PatchGrid:
        """Grid that a plan's ``[model]`` and ``[data]`` tables give."""
        side = data.size // model.patch
        return cls(data.frames // model.tubelet, side, side, model.tubelet, model.patch)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(slots, rows, cols)."""
        return self.slots, self.rows, self.cols

    @property
    def positions(self) -> int:
        """Space positions of one time slot."""
        return self.rows * self.cols

    @property
    def tokens(self) -> int:
        """Tokens of a video."""
        return self.slots * self.positions

    @property
    def pixels(self) -> int:
        """Values of one patch."""
        return self.tubelet * self.patch**2

    def cut(self, video: Tensor) -> Tensor:
        """Video (B, T, 1, H, W) to patches (B, tokens, pixels), pixels ordered time, row, column.

        Raises:
            ValueError: The video has another shape than the plan says.
        """
        expected = (self.slots * self.tubelet, 1, self.rows * self.patch, self.cols * self.patch)
        if tuple(video.shape[1:]) != expected:
            raise ValueError(
                f"the model takes videos (B, T, 1, H, W) with (T, 1, H, W) = {expected}, "
                f"got {tuple(video.shape[1:])}"
            )
        tiles = video.reshape(
            -1, self.slots, self.tubelet, self.rows, self.patch, self.cols, self.patch
        )
        return tiles.permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, self.tokens, self.pixels)

    def join(self, patches: Tensor) -> Tensor:
        """Inverse of :meth:`cut`."""
        tiles = patches.reshape(
            -1, self.slots, self.rows, self.cols, self.tubelet, self.patch, self.patch
        )
        frames, side = self.slots * self.tubelet, self.patch
        video = tiles.permute(0, 1, 4, 2, 5, 3, 6)
        return video.reshape(-1, frames, 1, self.rows * side, self.cols * side)


def sinusoid(values: Tensor, width: int, longest: float) -> Tensor:
    """Sine and cosine of values at geometrically spaced frequencies from 1 to 1 / ``longest``.

    Args:
        values: Any shape; positions, or times in radians of the fastest frequency. Computed in
            their own precision, at least float32.
        width: Even length D of the code: sines at even, cosines at odd indices.
        longest: Ratio of the slowest to the fastest period.

    Returns:
        Float (..., D), each entry in [-1, 1].

    Source: Vaswani 2017, section 3.5.
    """
    values = values.to(torch.promote_types(values.dtype, torch.float32))
    half = torch.arange(width // 2, device=values.device, dtype=values.dtype)
    angles = values.unsqueeze(-1) * longest ** (-half / (width // 2))
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)


def position_code(tokens: int, width: int) -> Tensor:
    """Fixed code (1, tokens, width) of the flattened token index, as VideoMAE's checkpoints use."""
    # An angle of a thousand radians leaves a float32 four decimals.
    index = torch.arange(tokens, dtype=torch.float64)
    return sinusoid(index, width, 10_000.0).float().unsqueeze(0)


def position_table(model: ModelConfig, grid: PatchGrid, width: int) -> Tensor:
    """Code (1, tokens, width) of each token of a grid.

    The code is of the flattened index, so the same position has another code on another grid.
    Weights that were trained on another (``model.position_grid``) get the codes that they know,
    interpolated between the centres of their tokens: a patch that covers four of theirs has the
    mean of four.
    """
    origin = model.position_grid or grid.shape
    code = position_code(math.prod(origin), width)
    if origin == grid.shape:
        return code
    volume = code.reshape(1, *origin, width).movedim(-1, 1)
    moved = functional.interpolate(volume, grid.shape, mode="trilinear", align_corners=False)
    return moved.movedim(1, -1).reshape(1, grid.tokens, width)
