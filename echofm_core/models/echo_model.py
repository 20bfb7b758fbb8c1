"""The whole predictor: encoder, spatial-temporal fusion, one head a task."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from echofm_core.data.config import DataConfig
from echofm_core.models.bag import BagPool, encode_alone
from echofm_core.models.config import ModelConfig
from echofm_core.models.heads import build_head
from echofm_core.models.stf_compact import CompactStfNet
from echofm_core.models.stf_net import build_stf_net
from echofm_core.models.video_vit import VideoEncoder
from echofm_core.tasks import Task


class EchoModel(nn.Module):
    """Reads a cine and predicts every task it has a head for.

    Args:
        model, data: The plan's tables.
        tasks: Which heads there are.

    Source: Echo-Vision-FM (2025), with the changes of DESIGN.md, section 5.
    """

    def __init__(self, model: ModelConfig, data: DataConfig, tasks: Sequence[Task]) -> None:
        super().__init__()
        self.encoder = VideoEncoder(model, data)
        levels = 1 + len(self.encoder.blocks)
        self.stf_net = build_stf_net(model.stf_net, self.encoder.grid, self.encoder.width, levels)
        width = self.stf_net.out_width
        self.heads = nn.ModuleDict({task.value: build_head(task, width) for task in tasks})

    def forward(self, video: Tensor, times: Tensor) -> dict[Task, Tensor]:
        """Predict.

        Args:
            video: Float (B, T, 1, H, W), normalised grey.
            times: Float (B, T), seconds from the window's start.

        Returns:
            Task -> float (B, outputs): standardised units for regression, else logits.
        """
        features = self.features(video, times)
        return {Task(name): head(features) for name, head in self.heads.items()}

    def features(self, video: Tensor, times: Tensor) -> Tensor:
        """Fused features (B, ``stf_net.out_width``); arguments as in :meth:`forward`."""
        if isinstance(self.stf_net, BagPool):
            pooled: Tensor = self.stf_net(encode_alone(self.encoder, video), times)
            return pooled
        slot_times = torch.unflatten(times, 1, (self.encoder.grid[0], -1)).mean(dim=2)
        fused: Tensor = self.stf_net(self.tokens(video), slot_times)
        return fused

    def tokens(self, video: Tensor) -> Tensor:
        """What the fusion network reads of a video, (B, slots, rows, cols, D).

        The compact one reads all stages of the encoder, the others its last.
        """
        if isinstance(self.stf_net, CompactStfNet):
            found = self.stf_net.mix(self.encoder.levels(video))
        else:
            found = self.encoder(video)
        return torch.unflatten(found, 1, self.encoder.grid)
