"""One local round of masked auto-encoding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from echofm_core.contract import DECODER, ENCODER, Phase
from echofm_core.data.windows import ClipWindows, to_batch
from echofm_core.models.masked_autoencoder import MaskedAutoencoder
from echofm_core.privacy.config import PrivacyKind
from echofm_core.randomness import torch_stream
from echofm_core.training.config import PretrainConfig
from echofm_core.training.context import LocalContext, RoundReport
from echofm_core.training.devices import autocast, find_device
from echofm_core.training.job import Indices, LocalJob
from echofm_core.training.loop import train
from echofm_core.training.losses import Losses, unsupervised


def pretrain_round(
    model: MaskedAutoencoder, clips: ClipWindows, config: PretrainConfig, context: LocalContext
) -> RoundReport:
    """Train encoder and decoder on every clip, labelled or not.

    Args:
        model: Changed in place; the FedProx term pulls towards the weights that it comes with.
        clips: Training windows of the site.
        config: The plan's table.
        context: Where in the federation this round stands.

    Raises:
        EmptySiteError: There are no clips.
        TrainingError: The loss stays non-finite.
        PrivacyError: Privacy was asked for and cannot be had, or its budget is spent.

    Source: VideoMAE (Tong 2022).
    """
    device = find_device(context.device)
    masks = torch_stream(context.seed, context.site, context.round, f"{Phase.PRETRAIN}.mask")
    metrics = train(
        LocalJob(
            phase=Phase.PRETRAIN,
            model=model.to(device),
            objective=ReconstructionObjective(
                model=model,
                clips=clips,
                device=device,
                masks=masks,
                mixed=context.privacy.kind is PrivacyKind.NONE,
            ),
            clips=np.arange(len(clips)),
            manifest=clips.manifest,
            config=config,
            context=context,
        )
    )
    return RoundReport(counts=dict.fromkeys((ENCODER, DECODER), len(clips)), metrics=metrics)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReconstructionObjective:
    """Masked reconstruction loss of a fresh window of each clip.

    Attributes:
        model: On ``device``.
        clips: Where windows come from.
        device: Where the model is.
        masks: CPU source of the masks.
        mixed: Use the device's mixed precision; a clipped gradient's norm must be exact.
    """

    model: MaskedAutoencoder
    clips: ClipWindows
    device: torch.device
    masks: torch.Generator
    mixed: bool

    def __call__(self, rows: Indices, rng: np.random.Generator) -> Losses:
        """Losses of rows (B,)."""
        batch = to_batch([self.clips.train_window(int(row), rng) for row in rows])
        with autocast(self.device, self.mixed):
            values = self.model.loss(
                batch.video.to(self.device), batch.sector.to(self.device), self.masks
            )
        return unsupervised(values)
