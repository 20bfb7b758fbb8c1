"""The fusion network between encoder and heads, in the form a plan names."""

from collections.abc import Collection
from dataclasses import replace

import torch
from torch import Tensor, nn

from echofm_core.models.config import StfNetForm, StfPart
from echofm_core.models.masking import Subset
from echofm_core.models.pooling import GatedAttentionPool, mean_over_positions
from echofm_core.models.stf_compact import CompactStfNet
from echofm_core.models.stf_published import PublishedStfNet
from echofm_core.models.video_vit import VideoEncoder


class BagPool(nn.Module):
    """The mean over each image's positions, then gated attention over the images.

    The order of the images does not matter. A window holds T of them: of more, T are taken evenly;
    where there are fewer, some stand in it twice, and count twice.

    Source: Ilse 2018 (attention-based multiple-instance learning); for TMED-2, Huang 2023 (SAMIL)
    without its view prior.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pool = GatedAttentionPool(width, width // 2)
        self.out_width = width

    def forward(self, tokens: Tensor, times: Tensor, region: Subset | None = None) -> Tensor:
        """Tokens (B, images, p, D) to (B, D); times are not read."""
        pooled: Tensor = self.pool(self.norm(mean_over_positions(tokens, region)))
        return pooled


def encode_alone(encoder: VideoEncoder, video: Tensor, region: Subset | None = None) -> Tensor:
    """Encode each frame of a video (B, T, 1, H, W) as a still, blind to the others.

    A still fills one time slot, the first: it is held for ``tubelet`` frames. Float (B, T, p, D) of
    the region's positions.
    """
    still = replace(encoder.patches, slots=1)
    everywhere = torch.arange(still.positions, device=video.device)
    positions = region or Subset(everywhere.expand(video.shape[0], -1))
    # One after the other: folded into the batch, frames would pass for samples where gradients
    # are taken by sample.
    tokens = [
        encoder.encode(still.cut(frame.expand(-1, still.tubelet, -1, -1, -1)), positions)
        for frame in torch.split(video, 1, dim=1)
    ]
    return torch.stack(tokens, dim=1)


class MeanPool(nn.Module):
    """No fusion at all: the mean over tokens, the arm an ablation compares with."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_width = width

    def forward(self, tokens: Tensor, times: Tensor, region: Subset | None = None) -> Tensor:
        """Tokens (B, slots, p, D) to (B, D); times are not read."""
        return mean_over_positions(tokens, region).mean(dim=1)


def build_stf_net(
    form: StfNetForm,
    grid: tuple[int, int, int],
    width: int,
    levels: int,
    without: Collection[StfPart] = (),
) -> CompactStfNet | PublishedStfNet | MeanPool | BagPool:
    """Fusion network; call it with tokens (B, slots, p, D), times (B, slots) in seconds, a region.

    The region says which p space positions the tokens have; None is all of them, rows first.

    Args:
        grid: (slots, rows, cols) of the encoder.
        width: Length D of an encoder token.
        levels: Stages of the encoder: its patches, and its blocks.
        without: Parts of the compact form that are left out.
    """
    match form:
        case StfNetForm.COMPACT:
            return CompactStfNet(grid, width, levels, without)
        case StfNetForm.PUBLISHED:
            return PublishedStfNet(grid, width)
        case StfNetForm.MEAN_POOL:
            return MeanPool(width)
        case StfNetForm.BAG:
            return BagPool(width)
