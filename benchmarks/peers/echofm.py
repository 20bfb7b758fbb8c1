"""Our own models, built and optimised as a plan's defaults have it."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.training_step import FRAMES, Learner, Setting
from echofm_core.contract import Phase
from echofm_core.data.windows import Batch
from echofm_core.models.build import build_autoencoder, build_echo_model
from echofm_core.runtime.randomness import torch_stream
from echofm_core.tasks import Task
from echofm_core.training.objectives.losses import supervised, unsupervised
from echofm_core.training.steps.optimizer import build_optimizer


def autoencoder(
    setting: Setting, device: torch.device, decode_fraction: float, sector: Tensor
) -> Learner:
    """Pre-training on clips with these sectors, bool (B, S, S)."""
    plan = setting.plan(decode_fraction)
    model = build_autoencoder(plan).to(device).train()
    video = _video(setting.mae_batch, setting).to(device)
    masks = torch_stream(0, "", 0, "benchmark.mask")

    def loss() -> Tensor:
        places = model.draw(sector, masks).tokens(device)
        return unsupervised(model.loss_at(video, *places)).of_batch()

    optimizer = build_optimizer(model, plan.pretrain, Phase.PRETRAIN)
    return Learner(loss=loss, optimizer=optimizer, device=device)


def predictor(setting: Setting, device: torch.device, sector: Tensor) -> Learner:
    """Fine-tuning of everything for ejection fraction, through the compact STF-Net."""
    plan = setting.plan()
    model = build_echo_model(plan).to(device).train()
    video = _video(setting.tune_batch, setting).to(device)
    times = torch.linspace(0, plan.data.window_seconds, FRAMES).expand(len(video), -1)
    batch = Batch(video=video, times=times, sector=sector)
    targets = {Task.EF: torch.linspace(0, 1, len(video), device=device)}

    def loss() -> Tensor:
        return supervised(model(*model.inputs(batch, device)), targets).of_batch()

    optimizer = build_optimizer(model, plan.finetune, Phase.FINETUNE)
    return Learner(loss=loss, optimizer=optimizer, device=device)


def _video(batch: int, setting: Setting) -> Tensor:
    """Clips (B, T, 1, H, W) of noise, normalised."""
    side, generator = setting.pixels, torch_stream(0, "", 0, "benchmark")
    return torch.randn(batch, FRAMES, 1, side, side, generator=generator)
