"""Masked auto-encoding: predict hidden patches from the few that are visible."""

import math

import torch
from torch import Tensor

from echofm_core.data.config import DataConfig
from echofm_core.data.windows import SD
from echofm_core.models.config import ModelConfig
from echofm_core.models.masked_predictor import MaskedPredictor
from echofm_core.models.masking import Subset
from echofm_core.models.patches import PatchGrid
from echofm_core.training.config import PretrainConfig

#: Added to a patch's standard deviation, so that flat patches stay finite: VideoMAE's 1e-6 of the
#: scale from black to white, in the units of a normalised video.
DEVIATION_FLOOR = 1e-6 / SD


class MaskedAutoencoder(MaskedPredictor):
    """Predicts the pixels of hidden patches, each patch normalised by itself.

    Source: VideoMAE (Tong 2022); Echo-Vision-FM (2025) with the changes of DESIGN.md, section 5.
    """

    def __init__(self, model: ModelConfig, data: DataConfig, pretrain: PretrainConfig) -> None:
        super().__init__(model, data, pretrain, PatchGrid.of(model, data).pixels)

    def error(self, predicted: Tensor, patches: Tensor, *tokens: Subset) -> Tensor:
        """Mean squared error to the normalised pixels of each wanted patch, (B, m)."""
        target = normalise(tokens[0].take(patches).float())
        return (predicted - target).square().mean(dim=2)

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
