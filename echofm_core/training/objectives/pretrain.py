"""One local round of pre-training: pixels, or latent targets."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from echofm_core.contract import DECODER, ENCODER, Phase
from echofm_core.data.windows import ClipWindows, Window, to_batch
from echofm_core.models.masked_predictor import MaskedPredictor
from echofm_core.runtime.randomness import torch_stream
from echofm_core.training.augment import drawn_windows
from echofm_core.training.augmentation import AugmentationConfig
from echofm_core.training.config import Precision, PretrainConfig
from echofm_core.training.execution.devices import autocast, find_device
from echofm_core.training.execution.forward import Compiled, recomputed
from echofm_core.training.execution.ranks import ALONE, Ranks, slices
from echofm_core.training.objectives.losses import Losses, unsupervised
from echofm_core.training.steps.job import Indices, LocalContext, LocalJob, RoundReport
from echofm_core.training.steps.loop import train


def pretrain_round(
    model: MaskedPredictor, clips: ClipWindows, config: PretrainConfig, context: LocalContext
) -> RoundReport:
    """Train encoder and decoder, in place, on every clip, labelled or not; a teacher stays.

    Raises:
        EmptySiteError: There are no clips.
        DivergedError: The loss stays non-finite.
        PrivacyError: Privacy was asked for and cannot be had, or its budget is spent.

    Source: VideoMAE (Tong 2022); with latent targets SALT (Li 2025).
    """
    device = find_device(context.execution.device)
    masks = torch_stream(context.seed, context.site, context.round, f"{Phase.PRETRAIN}.mask")
    objective = MaskedObjective(
        model=model,
        clips=clips,
        device=device,
        masks=masks,
        precision=context.precision(config),
        augmentation=config.augmentation if config.augment else None,
        compiled=Compiled(model.loss_at) if context.execution.compile else None,
        ranks=context.ranks,
    )
    job = LocalJob(
        phase=Phase.PRETRAIN,
        model=model.to(device),
        objective=objective,
        clips=np.arange(len(clips)),
        manifest=clips.manifest,
        config=config,
        context=context,
        generators={"mask": masks},
    )
    with recomputed(model, context.execution.checkpoint_blocks):
        metrics = train(job)
    return RoundReport(counts=dict.fromkeys((ENCODER, DECODER), len(clips)), metrics=metrics)


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskedObjective:
    """Loss of the model at hidden positions of a fresh, perhaps augmented window of each clip.

    Attributes:
        model: On ``device``.
        masks: CPU source of the masks.
        augmentation: Changes of the windows; None leaves them.
        compiled: The model's ``loss_at``, compiled.
    """

    model: MaskedPredictor
    clips: ClipWindows
    device: torch.device
    masks: torch.Generator
    precision: Precision
    augmentation: AugmentationConfig | None = None
    compiled: Callable[..., Tensor] | None = None
    ranks: Ranks = ALONE

    def __call__(self, rows: Indices, rng: np.random.Generator, parts: int = 1) -> Iterator[Losses]:
        """Losses of this process's part of rows (B,), part by part."""
        own = self.ranks.share(len(rows))
        windows = drawn_windows(self.clips, rows, self.augmentation, rng, own).windows
        sectors = _sectors(windows, own, (len(rows), self.clips.store.size))
        masks = self.model.draw(sectors, self.masks).rows(own)
        if not windows:
            yield unsupervised(torch.zeros(0, device=self.device), len(rows))
            return
        batch = to_batch(windows)
        loss_at = self.compiled or self.model.loss_at
        for part in slices(len(windows), parts):
            with autocast(self.device, self.precision):
                chosen = masks.rows(part).tokens(self.device)
                values = loss_at(batch.video[part].to(self.device), *chosen)
            yield unsupervised(values, len(rows))


def _sectors(windows: Sequence[Window], own: slice, shape: tuple[int, int]) -> Tensor:
    """Bool (B, S, S) of a batch: empty where the window is another process's.

    What is drawn of one sample depends on no other's sector.
    """
    samples, size = shape
    sectors = np.zeros((samples, size, size), dtype=bool)
    for sector, window in zip(sectors[own], windows, strict=True):
        sector[...] = window.sector
    return torch.from_numpy(sectors)
