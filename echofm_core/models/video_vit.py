"""The encoder: a vision transformer on tubelet patches of one grey channel."""

from functools import partial
from typing import Any

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from echofm_core.data.config import DataConfig
from echofm_core.models.config import ENCODER_SHAPES, ModelConfig
from echofm_core.models.masking import Subset, positions_seen
from echofm_core.models.patches import PatchGrid, position_table


class Blocks(nn.Sequential):
    """Blocks one after the other.

    Attributes:
        recompute: Keep no activation of a block for the backward pass but its input, and run it
            again there: memory for time, with the same gradients (Chen 2016).
    """

    recompute = False

    def forward(self, tokens: Tensor, valid: Tensor | None = None) -> Tensor:
        """Tokens (B, N, D) through every block; none but the last's are kept.

        ``valid``, bool (B, N), is a padding mask: no token reads one where it is False.
        """
        for block in self:
            tokens = self._through(block, tokens, valid)
        return tokens

    def each(self, tokens: Tensor, valid: Tensor | None = None) -> list[Tensor]:
        """Tokens (B, N, D) as they come, and as each block hands them on."""
        levels = [tokens]
        for block in self:
            levels.append(self._through(block, levels[-1], valid))
        return levels

    def _through(self, block: nn.Module, tokens: Tensor, valid: Tensor | None) -> Tensor:
        # Which keys every query of every head may read: (B, 1, 1, N).
        mask = None if valid is None else valid[:, None, None]
        passed: Tensor
        if self.recompute and torch.is_grad_enabled():
            # Nothing in a block draws at random: see training/execution/forward.py.
            passed = checkpoint(block, tokens, mask, use_reentrant=False, preserve_rng_state=False)
        else:
            passed = block(tokens, mask)
        return passed


def transformer(width: int, depth: int, heads: int) -> Blocks:
    """Pre-norm blocks with fused attention, MLP ratio 4, q/k/v biases and LayerNorm eps 1e-6."""
    norm: Any = partial(nn.LayerNorm, eps=1e-6)
    blocks = (Block(width, heads, qkv_bias=True, norm_layer=norm) for _ in range(depth))
    return Blocks(*blocks)


class VideoEncoder(nn.Module):
    """ViT over space-time tokens; it only ever sees those that are asked for.

    Attributes:
        patches: Geometry of the tokens.
        grid: (slots, rows, cols).
        width: Length D of a token.
        sector_only: Positions outside the ultrasound sector are no tokens.

    Source: VideoMAE (Tong 2022); one grey channel instead of three.
    """

    position: Tensor

    def __init__(self, config: ModelConfig, data: DataConfig) -> None:
        super().__init__()
        shape = ENCODER_SHAPES[config.size]
        self.patches = PatchGrid.of(config, data)
        self.grid = self.patches.shape
        self.width = shape.width
        self.sector_only = config.sector_only
        # A tubelet convolution with stride = kernel is a linear map of each patch; as such, hidden
        # patches cost nothing.
        self.patch_embed = nn.Linear(self.patches.pixels, shape.width)
        code = position_table(config, self.patches, shape.width)
        self.register_buffer("position", code, persistent=False)
        self.blocks = transformer(shape.width, shape.depth, shape.heads)
        norm = nn.LayerNorm(shape.width, eps=1e-6) if config.final_norm else nn.Identity()
        self.norm: nn.Module = norm

    def region(self, sector: Tensor) -> Subset | None:
        """Space positions to see of samples with these sectors, bool (B, H, W); None is all."""
        seen = self.seen(sector)
        return None if bool(seen.all()) else Subset.of(seen)

    def seen(self, sector: Tensor) -> Tensor:
        """Bool (B, positions), True where a sample with that sector has tokens."""
        sector = sector if self.sector_only else torch.ones_like(sector)
        return positions_seen(sector, self.patches.patch)

    def forward(self, video: Tensor, tokens: Subset | None = None) -> Tensor:
        """Encode a video.

        Args:
            video: Float (B, T, 1, H, W), normalised grey.
            tokens: Which to see, n at most; all by default.

        Returns:
            Float (B, n or all, D), in their order; padding means nothing.
        """
        return self.encode(self.patches.cut(video), tokens)

    def encode(self, patches: Tensor, tokens: Subset | None = None) -> Tensor:
        """As :meth:`forward`, from patches (B, tokens, pixels) that are already cut."""
        _, placed, valid = self._embedded(patches, tokens)
        encoded: Tensor = self.norm(self.blocks(placed, valid))
        return encoded

    def levels(self, video: Tensor, tokens: Subset | None = None) -> list[Tensor]:
        """What each stage of the encoder makes of a video; arguments as of :meth:`forward`.

        Returns:
            Float (B, n or all, D) each: patches before their positions are added, what each block
            hands on, and of the last block what :meth:`forward` gives.
        """
        embedded, placed, valid = self._embedded(self.patches.cut(video), tokens)
        _, *between, last = self.blocks.each(placed, valid)
        return [embedded, *between, self.norm(last)]

    def _embedded(
        self, patches: Tensor, tokens: Subset | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Tokens (B, n, D) without and with their positions; which are valid."""
        position, valid = self.position, None
        if tokens is not None:
            patches, valid = tokens.take(patches), tokens.valid
            position = tokens.take(position.expand(patches.shape[0], -1, -1))
        embedded = self.patch_embed(patches)
        return embedded, embedded + position.to(embedded.dtype), valid
