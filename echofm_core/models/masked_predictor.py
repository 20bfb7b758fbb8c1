"""A model that sees a few patches of a video and predicts something of the hidden ones."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from echofm_core.data.config import DataConfig
from echofm_core.models.config import ENCODER_SHAPES, ModelConfig
from echofm_core.models.masking import Masks, Subset, decoded_mask, joint_padding_mask, tube_mask
from echofm_core.models.patches import PatchGrid, position_table
from echofm_core.models.video_vit import VideoEncoder, transformer
from echofm_core.training.config import PretrainConfig


class Decoder(nn.Module):
    """Narrow transformer that sees visible tokens and a mask token at each position to predict.

    Source: VideoMAE (Tong 2022), section 3.3.
    """

    position: Tensor

    def __init__(self, config: ModelConfig, grid: PatchGrid, outputs: int) -> None:
        super().__init__()
        shape = ENCODER_SHAPES[config.size]
        width = shape.decoder_width
        self.bridge = nn.Linear(shape.width, width, bias=False)
        # An embedding of one row, since per-sample gradients need a layer behind each parameter.
        self.mask_token = nn.Embedding(1, width)
        self.register_buffer("position", position_table(config, grid, width), persistent=False)
        self.blocks = transformer(width, shape.decoder_depth, shape.decoder_heads)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.predict = nn.Linear(width, outputs)

    def forward(self, encoded: Tensor, visible: Subset, wanted: Subset) -> Tensor:
        """Predict what is wanted, (B, m, outputs), of the m ``wanted`` tokens.

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


class MaskedPredictor(nn.Module, ABC):
    """Encoder and decoder of the pre-training phase; a subclass says what is predicted.

    ``outputs`` is how many numbers that is for each token.
    """

    def __init__(
        self, model: ModelConfig, data: DataConfig, pretrain: PretrainConfig, outputs: int
    ) -> None:
        super().__init__()
        self.pretrain_config = pretrain
        self.encoder = VideoEncoder(model, data)
        self.decoder = Decoder(model, self.encoder.patches, outputs)

    def forward(self, video: Tensor, sector: Tensor, generator: torch.Generator) -> Tensor:
        """Error on the decoded hidden patches, for each sample.

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

    def loss_at(self, video: Tensor, *tokens: Subset) -> Tensor:
        """The loss at positions that are already drawn; it draws nothing, so it can be compiled.

        ``tokens`` are those of :meth:`Masks.tokens`, of what :meth:`draw` gave.
        """
        visible, wanted, *others = tokens
        patches = self.encoder.patches.cut(video)
        predicted = self.decoder(self.encoder.encode(patches, visible), visible, wanted)
        error = self.error(predicted.float(), patches, wanted, *others)
        weight = torch.ones_like(error) if wanted.valid is None else wanted.valid.float()
        loss: Tensor = (error * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
        return loss

    @abstractmethod
    def error(self, predicted: Tensor, patches: Tensor, *tokens: Subset) -> Tensor:
        """Error, float (B, m), of what is predicted of m tokens, float32 (B, m, outputs).

        ``patches`` (B, all, pixels) are all of the video's, ``tokens`` those that are wanted and
        what follows them in :meth:`loss_at`.
        """
