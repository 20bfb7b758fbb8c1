"""A bag of images: each is encoded by itself, and attention says which of them count."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from echofm_core.models.pooling import GatedAttentionPool
from echofm_core.models.video_vit import VideoEncoder


class BagPool(nn.Module):
    """The mean over each image's places, then gated attention over the images.

    The order of the images does not matter. A window holds T of them: of more, T are taken evenly;
    where there are fewer, some stand in it twice, and count twice.

    Args:
        width: Length D of an encoder token.

    Source: Ilse 2018 (attention-based multiple-instance learning); for TMED-2, Huang 2023 (SAMIL)
    without its view prior.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pool = GatedAttentionPool(width, width // 2)
        self.out_width = width

    def forward(self, tokens: Tensor, times: Tensor) -> Tensor:
        """Tokens (B, images, rows, cols, D) to (B, D); times are not read."""
        pooled: Tensor = self.pool(self.norm(tokens.mean(dim=(2, 3))))
        return pooled


def encode_alone(encoder: VideoEncoder, video: Tensor) -> Tensor:
    """Encode each frame of a video (B, T, 1, H, W) as a still, blind to the others.

    A still fills one time slot, the first: it is held for ``tubelet`` frames.

    Returns:
        Float (B, T, rows, cols, D).
    """
    still = replace(encoder.patches, slots=1)
    places = torch.arange(still.tokens, device=video.device).expand(len(video), -1)
    # One after the other: folded into the batch, frames would pass for samples where gradients
    # are taken by sample.
    tokens = [
        encoder.encode(still.cut(frame.expand(-1, still.tubelet, -1, -1, -1)), places)
        for frame in torch.split(video, 1, dim=1)
    ]
    return torch.unflatten(torch.stack(tokens, dim=1), 2, (still.rows, still.cols))
