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
    """Predicts the pixels of hidden patches, each patch normalised by itself, or grey of cells.

    Source: VideoMAE (Tong 2022); Echo-Vision-FM (2025) with the changes of DESIGN.md, section 5.
    """

    def __init__(self, model: ModelConfig, data: DataConfig, pretrain: PretrainConfig) -> None:
        pixels = PatchGrid.of(model, data).pixels
        super().__init__(model, data, pretrain, pixels // max(1, pretrain.cell) ** 2)

    def error(self, predicted: Tensor, patches: Tensor, *tokens: Subset) -> Tensor:
        """Mean squared error, (B, m), to each wanted patch.

        Its pixels are normalised, or the mean grey of its cells is taken as it is.
        """
        wanted = tokens[0].take(patches).float()
        cell = self.pretrain_config.cell
        target = cell_means(wanted, self.encoder.patches, cell) if cell else normalise(wanted)
        return (predicted - target).square().mean(dim=2)

    @torch.no_grad()
    def reconstruct(
        self, video: Tensor, sector: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Fill the hidden patches with what the model predicts, for pictures.

        Where the decoder predicts patches of zero mean and unit variance, their brightness and
        contrast are interpolated from visible patches, never read from the hidden truth.

        Arguments as of :meth:`forward`; outside the sector the video is left as it is.

        Returns:
            The filled video (B, T, 1, H, W), and bool (B, T, 1, H, W), True where hidden.
        """
        grid = self.encoder.patches
        patches = grid.cut(video)
        visible, hidden = self.draw(sector, generator, 1.0).tokens(video.device)
        predicted = self.decoder(self.encoder.encode(patches, visible), visible, hidden)
        if cell := self.pretrain_config.cell:
            guess = enlarge_cells(predicted, grid, cell)
        else:
            mean, deviation = interpolate_statistics(patches, visible, hidden, grid)
            guess = predicted * deviation + mean
        filled = hidden.put(guess.to(patches.dtype), grid.tokens)
        mask = hidden.put(torch.ones_like(guess), grid.tokens).bool()
        inside = sector[:, None, None].expand_as(video)
        whole = grid.join(torch.where(mask, filled, patches))
        return torch.where(inside, whole, video), grid.join(mask)


def normalise(patches: Tensor) -> Tensor:
    """Each patch (..., pixels) less its mean, over its unbiased standard deviation.

    Source: VideoMAE (Tong 2022), released code; equal to it, whatever linear scale the input has.
    """
    deviation = patches.std(dim=-1, keepdim=True, unbiased=True)
    return (patches - patches.mean(dim=-1, keepdim=True)) / (deviation + DEVIATION_FLOOR)


def cell_means(patches: Tensor, grid: PatchGrid, cell: int) -> Tensor:
    """Mean of each square cell of ``cell`` pixels a side, in each frame of each patch.

    Of patches (..., pixels) as :meth:`PatchGrid.cut` gives them: (..., pixels / cell ** 2), frame
    by frame, rows first.
    """
    count = grid.patch // cell
    shape = (grid.tubelet, count, cell, count, cell)
    means: Tensor = torch.unflatten(patches, -1, shape).mean(dim=(-3, -1)).flatten(-3)
    return means


def enlarge_cells(means: Tensor, grid: PatchGrid, cell: int) -> Tensor:
    """Cells to pixels that are alike within one; the other way of :func:`cell_means`."""
    count = grid.patch // cell
    frames = torch.unflatten(means, -1, (grid.tubelet, count, count))
    wide = frames.repeat_interleave(cell, dim=-2).repeat_interleave(cell, dim=-1)
    return wide.flatten(-3)


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
