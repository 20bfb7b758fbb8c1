"""Latent targets: predict the features that a frozen teacher finds at hidden positions."""

import torch
from torch import Tensor
from torch.nn import functional

from echofm_core.data.config import DataConfig
from echofm_core.models.config import ENCODER_SHAPES, ModelConfig
from echofm_core.models.masked_predictor import MaskedPredictor
from echofm_core.models.masking import Masks, Subset
from echofm_core.models.video_vit import VideoEncoder
from echofm_core.training.config import PretrainConfig


class LatentPredictor(MaskedPredictor):
    """A student that sees the visible patches, and a teacher of the same form that sees all.

    The student is ``encoder``, and ``decoder`` stands between it and what is predicted: each token
    of the teacher's last stage, brought to zero mean and unit variance. The teacher is never
    trained, and no average of weights is kept.

    Source: SALT (Li 2025, arXiv 2509.24317), stage 2; targets, normalised, and the absolute error
    as of V-JEPA (Bardes 2024), section 3.
    """

    def __init__(self, model: ModelConfig, data: DataConfig, pretrain: PretrainConfig) -> None:
        super().__init__(model, data, pretrain, ENCODER_SHAPES[model.size].width)
        self.teacher = VideoEncoder(model, data).requires_grad_(False)

    def draw(
        self, sector: Tensor, generator: torch.Generator, fraction: float | None = None
    ) -> Masks:
        """As of :class:`MaskedPredictor`; the teacher sees every position of the sector."""
        masks = super().draw(sector, generator, fraction)
        return masks._replace(whole=self.encoder.seen(sector.cpu()))

    def error(self, predicted: Tensor, patches: Tensor, *tokens: Subset) -> Tensor:
        """Mean absolute error to the teacher's features of each wanted token, (B, m)."""
        return (predicted - self.target(patches, *tokens)).abs().mean(dim=2)

    @torch.no_grad()
    def target(self, patches: Tensor, wanted: Subset, whole: Subset) -> Tensor:
        """The teacher's normalised features, float32 (B, m, D), of the wanted tokens.

        It reads the tokens ``whole`` of the patches (B, all, pixels).
        """
        features = whole.put(self.teacher.encode(patches, whole), patches.shape[1])
        return functional.layer_norm(wanted.take(features).float(), (self.teacher.width,))
