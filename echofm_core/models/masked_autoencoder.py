"""Masked auto-encoding: predict hidden patches from the few that are visible."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from echofm_core.data.config import DataConfig
from echofm_core.data.windows import SD
from echofm_core.models.config import ENCODER_SHAPES, ModelConfig
from echofm_core.models.masking import (
    decoded_tokens,
    hidden_count,
    touches_sector,
    tube_mask,
    tube_tokens,
)
from echofm_core.models.patches import PatchGrid, position_table, take_tokens
from echofm_core.models.video_vit import VideoEncoder, transformer
from echofm_core.training.config import PretrainConfig

#: Added to a patch's standard deviation, so that flat patches stay finite: VideoMAE's 1e-6 of the
#: scale from black to white, in the units of a normalised video.
DEVIATION_FLOOR = 1e-6 / SD


class Decoder(nn.Module):
    """Narrow transformer that sees visible tokens and a mask token at each place to predict.

    Source: VideoMAE (Tong 2022), section 3.3.
    """

    position: Tensor

    def __init__(self, config: ModelConfig, grid: PatchGrid) -> None:
        super().__init__()
        shape = ENCODER_SHAPES[config.size]
        width = shape.decoder_width
        self.bridge = nn.Linear(shape.width, width, bias=False)
        # An embedding of one row, since per-sample gradients need a layer behind each parameter.
        self.mask_token = nn.Embedding(1, width)
        self.register_buffer("position", position_table(config, grid, width), persistent=False)
        self.blocks = transformer(width, shape.decoder_depth, shape.decoder_heads)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.predict = nn.Linear(width, grid.pixels)

    def forward(self, encoded: Tensor, visible: Tensor, wanted: Tensor) -> Tensor:
        """Predict normalised patches.

        Args:
            encoded: Float (B, n, D) from the encoder.
            visible: Long (B, n), where those tokens are.
            wanted: Long (B, m), the tokens to predict.

        Returns:
            Float (B, m, pixels).
        """
        batch, count = wanted.shape
        seen = self.bridge(encoded)
        position = self.position.to(seen.dtype).expand(batch, -1, -1)
        mask = self.mask_token(wanted.new_zeros(batch, 1)).to(seen.dtype)
        tokens = torch.cat(
            (seen + take_tokens(position, visible), mask + take_tokens(position, wanted)), dim=1
        )
        predicted: Tensor = self.predict(self.norm(self.blocks(tokens)[:, -count:]))
        return predicted


class Places(NamedTuple):
    """Tokens of each sample: (B, n) long to see, (B, m) long to predict, (B, m) bool that count."""

    visible: Tensor
    wanted: Tensor
    counted: Tensor

    def of(self, samples: slice, device: torch.device) -> Places:
        """Those of some samples, on a device."""
        return Places(*(places[samples].to(device) for places in self))


class MaskedAutoencoder(nn.Module):
    """Encoder and decoder of the pre-training phase.

    Args:
        model, data, pretrain: The plan's tables.

    Source: VideoMAE (Tong 2022); Echo-Vision-FM (2025) with the changes of DESIGN.md, section 5.
    """

    def __init__(self, model: ModelConfig, data: DataConfig, pretrain: PretrainConfig) -> None:
        super().__init__()
        self.pretrain_config = pretrain
        self.encoder = VideoEncoder(model, data)
        self.decoder = Decoder(model, self.encoder.patches)

    def forward(self, video: Tensor, sector: Tensor, generator: torch.Generator) -> Tensor:
        """Same as :meth:`loss`, for wrappers that call the module."""
        return self.loss(video, sector, generator)

    def loss(self, video: Tensor, sector: Tensor, generator: torch.Generator) -> Tensor:
        """Squared error on the decoded hidden patches that touch the sector, for each sample.

        Args:
            video: Float (B, T, 1, H, W), normalised grey.
            sector: Bool (B, H, W), True inside the ultrasound sector.
            generator: CPU source of the masks.

        Returns:
            Float32 (B,); 0 for a sample with no such patch.
        """
        return self.loss_at(video, *self.draw(sector, generator))

    def draw(self, sector: Tensor, generator: torch.Generator) -> Places:
        """Draw what is seen and what is predicted of each sample; arguments as of :meth:`loss`."""
        visible, hidden = self.draw_mask(len(sector), generator, sector.device)
        counted = self._counted(sector)
        wanted = decoded_tokens(
            hidden, counted.gather(1, hidden), self.pretrain_config.decode_fraction, generator
        )
        return Places(visible, wanted, counted.gather(1, wanted))

    def loss_at(self, video: Tensor, visible: Tensor, wanted: Tensor, counted: Tensor) -> Tensor:
        """The loss at places that are already drawn; it draws nothing, so it can be compiled."""
        patches = self.encoder.patches.cut(video)
        predicted = self.decoder(self.encoder.encode(patches, visible), visible, wanted)
        target = normalise(take_tokens(patches, wanted).float())
        error = (predicted.float() - target).square().mean(dim=2)
        weight = counted.float()
        loss: Tensor = (error * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
        return loss

    @torch.no_grad()
    def reconstruct(
        self, video: Tensor, sector: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Fill the hidden patches with what the model predicts, for pictures.

        The decoder predicts patches of zero mean and unit variance. Their brightness and contrast
        are interpolated from visible patches, never read from the hidden truth.

        Args:
            video: Float (B, T, 1, H, W), normalised grey.
            sector: Bool (B, H, W); outside it the video is left as it is.
            generator: CPU source of the masks.

        Returns:
            The filled video (B, T, 1, H, W), and bool (B, T, 1, H, W), True where hidden.
        """
        grid = self.encoder.patches
        patches = grid.cut(video)
        visible, hidden = self.draw_mask(len(video), generator, video.device)
        predicted = self.decoder(self.encoder.encode(patches, visible), visible, hidden)
        mean, deviation = interpolate_statistics(patches, visible, hidden, grid)
        index = hidden.unsqueeze(-1).expand(-1, -1, grid.pixels)
        filled = patches.scatter(1, index, (predicted * deviation + mean).to(patches.dtype))
        mask = torch.zeros_like(patches, dtype=torch.bool).scatter(1, index, True)
        inside = sector[:, None, None].expand_as(video)
        return torch.where(inside, grid.join(filled), video), grid.join(mask)

    def draw_mask(
        self, batch: int, generator: torch.Generator, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """Visible and hidden token indices, (B, n) and (B, N), of fresh tube masks."""
        grid = self.encoder.patches
        ratio = self.pretrain_config.mask_ratio
        count = hidden_count(grid.positions, ratio)
        mask = tube_mask(batch, grid.positions, ratio, generator)
        visible = tube_tokens(~mask, grid.positions - count, grid.slots)
        return visible.to(device), tube_tokens(mask, count, grid.slots).to(device)

    def _counted(self, sector: Tensor) -> Tensor:
        """Bool (B, tokens), True where a token may count in the loss."""
        grid = self.encoder.patches
        if not self.pretrain_config.sector_loss:
            sector = torch.ones_like(sector)
        return touches_sector(sector, grid.patch).repeat(1, grid.slots)


def normalise(patches: Tensor) -> Tensor:
    """Each patch (..., pixels) less its mean, over its unbiased standard deviation.

    Source: VideoMAE (Tong 2022), released code; equal to it, whatever linear scale the input has.
    """
    deviation = patches.std(dim=-1, keepdim=True, unbiased=True)
    return (patches - patches.mean(dim=-1, keepdim=True)) / (deviation + DEVIATION_FLOOR)


def interpolate_statistics(
    patches: Tensor, visible: Tensor, hidden: Tensor, grid: PatchGrid
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of hidden patches, guessed from visible ones nearby.

    Args:
        patches: Float (B, tokens, pixels); only its visible tokens are read.
        visible: Long (B, n), tokens to read.
        hidden: Long (B, m), tokens to guess.
        grid: Geometry of the tokens.

    Returns:
        Two float (B, m, 1): averages weighted by exp(-squared distance in patches).
    """
    seen = take_tokens(patches, visible).float()
    statistics = torch.stack((seen.mean(dim=-1), seen.std(dim=-1)), dim=-1)
    axes = [torch.arange(size, device=patches.device).float() for size in grid.shape]
    place = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 3)
    nearness = -torch.cdist(place[hidden], place[visible]).square()
    guessed = nearness.softmax(dim=-1) @ statistics
    return guessed[..., :1], guessed[..., 1:]
