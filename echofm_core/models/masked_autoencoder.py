"""Masked auto-encoding: predict hidden patches from the few that are visible."""

import math

import torch
from torch import Tensor, nn

from echofm_core.data.config import DataConfig
from echofm_core.data.windows import SD
from echofm_core.models.config import ENCODER_SHAPES, ModelConfig
from echofm_core.models.masking import Masks, Subset, decoded_mask, joint_padding_mask, tube_mask
from echofm_core.models.patches import PatchGrid, position_table
from echofm_core.models.video_vit import VideoEncoder, transformer
from echofm_core.training.config import PretrainConfig

#: Added to a patch's standard deviation, so that flat patches stay finite: VideoMAE's 1e-6 of the
#: scale from black to white, in the units of a normalised video.
DEVIATION_FLOOR = 1e-6 / SD


class Decoder(nn.Module):
    """Narrow transformer that sees visible tokens and a mask token at each position to predict.

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

    def forward(self, encoded: Tensor, visible: Subset, wanted: Subset) -> Tensor:
        """Predict normalised patches (B, m, pixels) of the m ``wanted`` tokens.

        ``encoded``, float (B, n, D), are those of the encoder at ``visible``.
        """
        batch = wanted.items.shape[0]
        seen = self.bridge(encoded)
        position = self.position.to(seen.dtype).expand(batch, -1, -1)
        mask = self.mask_token(wanted.items.new_zeros(batch, 1)).to(seen.dtype)
        tokens = torch.cat((seen + visible.take(position), mask + wanted.take(position)), dim=1)
        decoded = self.blocks(tokens, joint_padding_mask(visible, wanted))[:, seen.shape[1] :]
        predicted: Tensor = self.predict(self.norm(decoded))
        return predicted


class MaskedAutoencoder(nn.Module):
    """Encoder and decoder of the pre-training phase.

    Source: VideoMAE (Tong 2022); Echo-Vision-FM (2025) with the changes of DESIGN.md, section 5.
    """

    def __init__(self, model: ModelConfig, data: DataConfig, pretrain: PretrainConfig) -> None:
        super().__init__()
        self.pretrain_config = pretrain
        self.encoder = VideoEncoder(model, data)
        self.decoder = Decoder(model, self.encoder.patches)

    def forward(self, video: Tensor, sector: Tensor, generator: torch.Generator) -> Tensor:
        """Squared error on the decoded hidden patches, for each sample.

        Args:
            video: Float (B, T, 1, H, W), normalised grey.
            sector: Bool (B, H, W), True inside the ultrasound sector.
            generator: CPU source of the masks.

        Returns:
            Float32 (B,); 0 for a sample with no hidden patch.
        """
        return self.loss_at(video, *self.draw(sector, generator).tokens(video.device))

    def draw(
        self, sector: Tensor, generator: torch.Generator, fraction: float | None = None
    ) -> Masks:
        """Draw what is seen and what is predicted of each sample; arguments as of :meth:`forward`.

        What is drawn of one sample depends on no other's sector. ``fraction`` is the share of the
        hidden patches that is predicted, in (0, 1]; by default the plan's.
        """
        grid, config = self.encoder.patches, self.pretrain_config
        seen = self.encoder.seen(sector.cpu())
        hidden = tube_mask(seen, config.mask_ratio, generator)
        share = config.decode_fraction if fraction is None else fraction
        wanted = decoded_mask(hidden.repeat(1, grid.slots), share, generator)
        return Masks(seen & ~hidden, wanted, grid.slots)

    def loss_at(self, video: Tensor, visible: Subset, wanted: Subset) -> Tensor:
        """The loss at positions that are already drawn; it draws nothing, so it can be compiled."""
        patches = self.encoder.patches.cut(video)
        predicted = self.decoder(self.encoder.encode(patches, visible), visible, wanted)
        target = normalise(wanted.take(patches).float())
        error = (predicted.float() - target).square().mean(dim=2)
        weight = torch.ones_like(error) if wanted.valid is None else wanted.valid.float()
        loss: Tensor = (error * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
        return loss

    @torch.no_grad()
    def reconstruct(
        self, video: Tensor, sector: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Fill the hidden patches with what the model predicts, for pictures.

        The decoder predicts patches of zero mean and unit variance. Their brightness and contrast
        are interpolated from visible patches, never read from the hidden truth.

        Arguments as of :meth:`forward`; outside the sector the video is left as it is.

        Returns:
            The filled video (B, T, 1, H, W), and bool (B, T, 1, H, W), True where hidden.
        """
        grid = self.encoder.patches
        patches = grid.cut(video)
        visible, hidden = self.draw(sector, generator, 1.0).tokens(video.device)
        predicted = self.decoder(self.encoder.encode(patches, visible), visible, hidden)
        mean, deviation = interpolate_statistics(patches, visible, hidden, grid)
        filled = hidden.put((predicted * deviation + mean).to(patches.dtype), grid.tokens)
        mask = hidden.put(torch.ones_like(predicted), grid.tokens).bool()
        inside = sector[:, None, None].expand_as(video)
        whole = grid.join(torch.where(mask, filled, patches))
        return torch.where(inside, whole, video), grid.join(mask)


def normalise(patches: Tensor) -> Tensor:
    """Each patch (..., pixels) less its mean, over its unbiased standard deviation.

    Source: VideoMAE (Tong 2022), released code; equal to it, whatever linear scale the input has.
    """
    deviation = patches.std(dim=-1, keepdim=True, unbiased=True)
    return (patches - patches.mean(dim=-1, keepdim=True)) / (deviation + DEVIATION_FLOOR)


def interpolate_statistics(
    patches: Tensor, visible: Subset, hidden: Subset, grid: PatchGrid
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of hidden patches, guessed from visible ones nearby.

    Of patches (B, tokens, pixels) only visible tokens are read. Two float (B, m, 1) of the m hidden
    ones: averages weighted by exp(-squared distance in patches).
    """
    seen = visible.take(patches).float()
    statistics = torch.stack((seen.mean(dim=-1), seen.std(dim=-1)), dim=-1)
    axes = [torch.arange(size, device=patches.device).float() for size in grid.shape]
    position = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 3)
    nearness = -torch.cdist(position[hidden.items], position[visible.items]).square()
    if visible.valid is not None:
        nearness = nearness.masked_fill(~visible.valid.unsqueeze(1), -math.inf)
    guessed = nearness.softmax(dim=-1) @ statistics
    return guessed[..., :1], guessed[..., 1:]
