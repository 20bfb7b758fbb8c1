"""The encoder: a vision transformer on tubelet patches of one grey channel."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from echofm_core.data.config import DataConfig
from echofm_core.models.config import ENCODER_SHAPES, ModelConfig
from echofm_core.models.patches import PatchGrid, position_table, take_tokens


class Blocks(nn.Sequential):
    """Blocks one after the other.

    Attributes:
        recompute: Keep no activation of a block for the backward pass but its input, and run it
            again there: memory for time, with the same gradients (Chen 2016).
    """

    recompute = False

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, N, D) through every block; none but the last's are kept."""
        for block in self:
            tokens = self._through(block, tokens)
        return tokens

    def each(self, tokens: Tensor) -> list[Tensor]:
        """Tokens (B, N, D) as they come, and as each block hands them on."""
        levels = [tokens]
        for block in self:
            levels.append(self._through(block, levels[-1]))
        return levels

    def _through(self, block: nn.Module, tokens: Tensor) -> Tensor:
        passed: Tensor
        if self.recompute and torch.is_grad_enabled():
            # Nothing in a block draws at random: see training/drop_path.py.
            passed = checkpoint(block, tokens, use_reentrant=False, preserve_rng_state=False)
        else:
            passed = block(tokens)
        return passed


def transformer(width: int, depth: int, heads: int) -> Blocks:
    """Pre-norm blocks with fused attention, MLP ratio 4, q/k/v biases and LayerNorm eps 1e-6."""
    norm: Any = partial(nn.LayerNorm, eps=1e-6)
    blocks = (Block(width, heads, qkv_bias=True, norm_layer=norm) for _ in range(depth))
    return Blocks(*blocks)


class VideoEncoder(nn.Module):
    """ViT over space-time tokens; of a masked video it only ever sees the visible ones.

    Attributes:
        patches: Geometry of the tokens.
        grid: (slots, rows, cols).
        width: Length D of a token.

    Source: VideoMAE (Tong 2022); one grey channel instead of three.
    """

    position: Tensor

    def __init__(self, config: ModelConfig, data: DataConfig) -> None:
        super().__init__()
        shape = ENCODER_SHAPES[config.size]
        self.patches = PatchGrid.of(config, data)
        self.grid = self.patches.shape
        self.width = shape.width
        # A tubelet convolution with stride = kernel is a linear map of each patch; as such, hidden
        # patches cost nothing.
        self.patch_embed = nn.Linear(self.patches.pixels, shape.width)
        code = position_table(config, self.patches, shape.width)
        self.register_buffer("position", code, persistent=False)
        self.blocks = transformer(shape.width, shape.depth, shape.heads)
        norm = nn.LayerNorm(shape.width, eps=1e-6) if config.final_norm else nn.Identity()
        self.norm: nn.Module = norm

    def forward(self, video: Tensor, visible: Tensor | None = None) -> Tensor:
        """Encode a video.

        Args:
            video: Float (B, T, 1, H, W), normalised grey.
            visible: Long (B, n), the tokens to see; all by default.

        Returns:
            Float (B, n or all, D), in the order of ``visible``.
        """
        return self.encode(self.patches.cut(video), visible)

    def encode(self, patches: Tensor, visible: Tensor | None = None) -> Tensor:
        """As :meth:`forward`, from patches (B, tokens, pixels) that are already cut."""
        position = self.position
        if visible is not None:
            patches = take_tokens(patches, visible)
            position = take_tokens(position.expand(len(visible), -1, -1), visible)
        tokens = self.patch_embed(patches)
        encoded: Tensor = self.norm(self.blocks(tokens + position.to(tokens.dtype)))
        return encoded

    def levels(self, video: Tensor) -> list[Tensor]:
        """What each stage of the encoder makes of a video.

        Args:
            video: Float (B, T, 1, H, W), normalised grey.

        Returns:
            Float (B, N, D) each: patches before their places are added, what each block hands on,
            and of the last block what :meth:`forward` gives.
        """
        patches = self.patch_embed(self.patches.cut(video))
        _, *between, last = self.blocks.each(patches + self.position.to(patches.dtype))
        return [patches, *between, self.norm(last)]
