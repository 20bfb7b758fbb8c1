"""The whole predictor: encoder, spatial-temporal fusion, one head a task."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from echofm_core.data.config import DataConfig
from echofm_core.data.windows import Batch
from echofm_core.models.config import ModelConfig
from echofm_core.models.heads import build_head, grey_cells, grey_width
from echofm_core.models.stf_compact import CompactStfNet
from echofm_core.models.stf_net import BagPool, MeanPool, build_stf_net, encode_alone
from echofm_core.models.subset import Subset
from echofm_core.models.video_vit import VideoEncoder
from echofm_core.tasks import TASKS, Task, TaskFamily


class EchoModel(nn.Module):
    """Reads a cine and predicts every task it has a head for.

    Args:
        model, data: The plan's tables.
        tasks: Which heads there are.

    Attributes:
        reading_grey: Tasks whose heads see grey levels beside the fused features: those of the
            ventricle, behind the compact fusion network.

    Source: Echo-Vision-FM (2025), with the changes of DESIGN.md, section 5.
    """

    def __init__(self, model: ModelConfig, data: DataConfig, tasks: Sequence[Task]) -> None:
        super().__init__()
        self.encoder = VideoEncoder(model, data)
        levels = 1 + len(self.encoder.blocks)
        self.stf_net = build_stf_net(model.stf_net, self.encoder.grid, self.encoder.width, levels)
        self.patch = model.patch
        compact = isinstance(self.stf_net, CompactStfNet)
        self.reading_grey = frozenset(
            task for task in tasks if compact and TASKS[task].family is TaskFamily.VENTRICLE
        )
        width = self.stf_net.out_width
        grey = self.encoder.patches.positions * grey_width(model.patch)
        self.heads = nn.ModuleDict(
            {
                task.value: build_head(task, width, grey * (task in self.reading_grey))
                for task in tasks
            }
        )

    def forward(self, video: Tensor, times: Tensor, region: Subset | None) -> dict[Task, Tensor]:
        """Predict.

        Args:
            video: Float (B, T, 1, H, W), normalised grey.
            times: Float (B, T), seconds from the window's start.
            region: Space positions to see, of :meth:`region`; None is all of them.

        Returns:
            Task -> float (B, outputs): standardised units for regression, else logits.
        """
        features = self.features(video, times, region)
        grey = self._grey(video, region) if self.reading_grey else None
        return {
            Task(name): head(features, grey if Task(name) in self.reading_grey else None)
            for name, head in self.heads.items()
        }

    def inputs(self, batch: Batch, device: torch.device) -> tuple[Tensor, Tensor, Subset | None]:
        """Windows as :meth:`forward` takes them, on a device."""
        region = self.region(batch.sector)
        moved = None if region is None else region.to(device)
        return batch.video.to(device), batch.times.to(device), moved

    def region(self, sector: Tensor) -> Subset | None:
        """What to see of windows with these sectors, bool (B, H, W); None is all of the square."""
        return self.encoder.region(sector)

    def features(self, video: Tensor, times: Tensor, region: Subset | None) -> Tensor:
        """Fused features (B, ``stf_net.out_width``); arguments as in :meth:`forward`."""
        if isinstance(self.stf_net, BagPool):
            alone = encode_alone(self.encoder, video, region)
            pooled: Tensor = self.stf_net(alone, times, region)
            return pooled
        slot_times = torch.unflatten(times, 1, (self.encoder.grid[0], -1)).mean(dim=2)
        fused: Tensor = self.stf_net(self.tokens(video, region), slot_times, region)
        return fused

    def tokens(self, video: Tensor, region: Subset | None) -> Tensor:
        """What the fusion network reads of a video, (B, slots, p, D).

        The compact one reads all stages of the encoder, the others its last.
        """
        grid = self.encoder.patches
        seen = None if region is None else region.in_every_slot(grid.slots, grid.positions)
        if isinstance(self.stf_net, CompactStfNet):
            found = self.stf_net.mix(self.encoder.levels(video, seen))
        else:
            found = self.encoder(video, seen)
        return torch.unflatten(found, 1, (grid.slots, -1))

    def attention(self, video: Tensor, region: Subset | None) -> Tensor | None:
        """Weights (B, slots, rows, cols) of the joint pathway, sum 1; None where there is none."""
        if isinstance(self.stf_net, MeanPool | BagPool):
            return None
        return self.stf_net.attention(self.tokens(video, region), region)

    def _grey(self, video: Tensor, region: Subset | None) -> Tensor:
        """Grey levels of the region's cells, position by position: (B, width); zero elsewhere."""
        grey = grey_cells(video, self.patch)
        if region is not None:
            grey = region.put(region.take(grey), grey.shape[1])
        return grey.flatten(1)
