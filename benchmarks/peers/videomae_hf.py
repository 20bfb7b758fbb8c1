"""Hugging Face's VideoMAE with fused attention: to pre-train, and below the published STFF-Net.

The published recipe (Echo-Vision-FM 2025, released code) is this model too. What it adds in a step
is AdamW as torch offers it, which is not the fused one, and a mask that hides 15 % and not 85 %,
because its comparison is the wrong way round. It is handed fused attention here, whether or not the
library had it then.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from transformers import VideoMAEConfig, VideoMAEForPreTraining, VideoMAEModel

from benchmarks.peers.stff_net import StffNet, head
from benchmarks.training_step import FRAMES, MASK_RATIO, Learner, Setting
from echofm_core.models.config import ENCODER_SHAPES
from echofm_core.models.masking import tube_mask
from echofm_core.runtime.randomness import torch_stream

PATCH, TUBELET, CHANNELS = 16, 2, 3


def autoencoder(setting: Setting, device: torch.device) -> tuple[Learner, Learner, Learner]:
    """Fused AdamW; the published recipe at the same mask; the published recipe as released.

    All three train one model.
    """
    model = VideoMAEForPreTraining(_config(setting)).to(device).train()
    video = _video(setting.mae_batch, setting, device)
    masks = torch_stream(0, "", 0, "benchmark.mask")
    slots, rows, cols = _grid(setting)

    def tubes() -> Tensor:
        whole = torch.ones(len(video), rows * cols, dtype=torch.bool)
        hidden = tube_mask(whole, MASK_RATIO, masks).repeat(1, slots)
        loss: Tensor = model(video, hidden.to(device)).loss
        return loss

    def released() -> Tensor:
        drawn = torch.rand(slots * rows * cols, generator=masks)
        loss: Tensor = model(video, (drawn > MASK_RATIO).expand(len(video), -1).to(device)).loss
        return loss

    plain = AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.98), weight_decay=0.05)
    return (
        Learner(loss=tubes, optimizer=_fused(model), device=device),
        Learner(loss=tubes, optimizer=plain, device=device),
        Learner(loss=released, optimizer=plain, device=device),
    )


def predictor(setting: Setting, device: torch.device) -> tuple[Learner, Learner]:
    """Published model for ejection fraction: fused AdamW; the published recipe. One model."""
    config, grid = _config(setting), _grid(setting)
    model = nn.ModuleDict(
        {
            "encoder": VideoMAEModel(config),
            "stff_net": StffNet(grid, config.hidden_size),
            "head": head(2 * config.hidden_size),
        }
    )
    model.to(device).train()
    video = _video(setting.tune_batch, setting, device)
    frames = torch.arange(FRAMES, device=device).float().expand(len(video), -1)
    target = torch.linspace(0.3, 0.7, len(video), device=device)

    def loss() -> Tensor:
        tokens = model["encoder"](video).last_hidden_state
        predicted = model["head"](model["stff_net"](tokens, frames)).squeeze(1)
        return nn.functional.mse_loss(predicted, target)

    plain = AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.99), weight_decay=1e-5)
    return (
        Learner(loss=loss, optimizer=_fused(model), device=device),
        Learner(loss=loss, optimizer=plain, device=device),
    )


def _fused(model: nn.Module) -> AdamW:
    return AdamW(model.parameters(), lr=1e-4, weight_decay=0.05, fused=True)


def _grid(setting: Setting) -> tuple[int, int, int]:
    side = setting.pixels // PATCH
    return FRAMES // TUBELET, side, side


def _video(batch: int, setting: Setting, device: torch.device) -> Tensor:
    """Grey clips (B, T, 3, H, W) in [0, 1], the channels equal."""
    side = setting.pixels
    grey = torch.rand(batch, FRAMES, 1, side, side, generator=torch_stream(0, "", 0, "benchmark"))
    return grey.expand(-1, -1, CHANNELS, -1, -1).contiguous().to(device)


def _config(setting: Setting) -> VideoMAEConfig:
    shape = ENCODER_SHAPES[setting.size]
    return VideoMAEConfig(
        image_size=setting.pixels,
        patch_size=PATCH,
        num_channels=CHANNELS,
        num_frames=FRAMES,
        tubelet_size=TUBELET,
        hidden_size=shape.width,
        num_hidden_layers=shape.depth,
        num_attention_heads=shape.heads,
        intermediate_size=4 * shape.width,
        decoder_hidden_size=shape.decoder_width,
        decoder_num_hidden_layers=shape.decoder_depth,
        decoder_num_attention_heads=shape.decoder_heads,
        decoder_intermediate_size=4 * shape.decoder_width,
        attn_implementation="sdpa",
    )
