"""The whole predictor: encoder, spatial-temporal fusion, one small head a task.

A patch becomes one token, and where a wall stands within it is a small part of that token. Few
labels teach it late; grey levels of cells finer than a patch show it. They serve what is read from
a chamber that moves: a study's stills have no motion, and their heads do not see them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from echofm_core.data.config import DataConfig
from echofm_core.data.windows import Batch
from echofm_core.models.config import ModelConfig, StfPart
from echofm_core.models.masking import Subset
from echofm_core.models.pooling import log_deviation_over_time
from echofm_core.models.stf_compact import CompactStfNet
from echofm_core.models.stf_net import BagPool, MeanPool, build_stf_net, encode_alone
from echofm_core.models.video_vit import VideoEncoder
from echofm_core.tasks import TASKS, Task, TaskFamily

#: Most cells along each side of a patch.
CELLS = 4
#: Added to a logarithm of a deviation, so that a usual one is about zero.
USUAL = 1.5
#: What brings both facts to about unit deviation over patients, as a head's norm brings features:
#: a head learns slowly what is small beside the rest.
MEAN_GAIN, DEVIATION_GAIN = 4.0, 2.0


def cells_of(patch: int) -> int:
    """Cells along each side of a patch of so many pixels: at most :data:`CELLS`, of one size."""
    return max(count for count in range(1, CELLS + 1) if patch % count == 0)


def grey_width(patch: int, *, deviation: bool = True) -> int:
    """Length of what :func:`grey_cells` says of a patch."""
    return (2 if deviation else 1) * cells_of(patch) ** 2


def grey_cells(video: Tensor, patch: int, *, deviation: bool = True) -> Tensor:
    """Mean over time of each cell's grey level and, unless left out, the log of its deviation.

    Of a video (B, T, 1, S, S), normalised grey, and patches of so many pixels a side: float
    (B, p, :func:`grey_width`) of all p patch positions, rows first.
    """
    cells = cells_of(patch)
    side, rows = patch // cells, video.shape[-2] // patch
    grid = torch.unflatten(video[:, :, 0], 2, (rows * cells, side))
    grey = torch.unflatten(grid, 4, (-1, side)).mean(dim=(3, 5))
    found = [MEAN_GAIN * grey.mean(dim=1)]
    if deviation:
        found.append(DEVIATION_GAIN * (log_deviation_over_time(grey) + USUAL))
    facts = []
    for fact in found:
        by_row = torch.unflatten(fact, 1, (rows, cells))
        facts.append(torch.unflatten(by_row, 3, (-1, cells)).transpose(2, 3).flatten(3))
    return torch.cat(facts, dim=3).flatten(1, 2)


#: Standard deviation of a head's initial weights: its output starts near zero, which for a
#: regression is the mean that targets are standardised with and for a class an even chance.
INITIAL_SCALE = 1e-3


class Head(nn.Module):
    """Layer norm and one linear map, so that training heads alone is a linear probe.

    Beside the fused features, ``width`` long, stand ``grey`` grey levels. They are not normed: how
    much of a picture is dark says how large a chamber is, and a norm takes that away.
    """

    def __init__(self, width: int, outputs: int, grey: int = 0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.linear = nn.Linear(width + grey, outputs)

    def forward(self, features: Tensor, grey: Tensor | None = None) -> Tensor:
        """Features (B, width), and grey levels (B, grey), to predictions (B, outputs)."""
        seen = self.norm(features)
        if grey is not None:
            seen = torch.cat((seen, grey), dim=1)
        predicted: Tensor = self.linear(seen)
        return predicted


class EchoModel(nn.Module):
    """Reads a cine and predicts every task it has a head for.

    Attributes:
        reading_grey: Tasks whose heads see grey levels beside the fused features: those of the
            ventricle, behind the compact fusion network.

    Source: Echo-Vision-FM (2025), with the changes of DESIGN.md, section 5.
    """

    def __init__(self, model: ModelConfig, data: DataConfig, tasks: Sequence[Task]) -> None:
        super().__init__()
        self.encoder = VideoEncoder(model, data)
        levels = 1 + len(self.encoder.blocks)
        without = model.stf_without
        self.stf_net = build_stf_net(
            model.stf_net, self.encoder.grid, self.encoder.width, levels, without
        )
        reads = isinstance(self.stf_net, CompactStfNet) and StfPart.GREY not in without
        self.reading_grey = frozenset(
            task for task in tasks if reads and TASKS[task].family is TaskFamily.VENTRICLE
        )
        self._deviation = StfPart.DEVIATION not in without
        width = self.stf_net.out_width
        grey = self.encoder.patches.positions * grey_width(model.patch, deviation=self._deviation)
        self.heads = nn.ModuleDict()
        for task in tasks:
            beside = grey if task in self.reading_grey else 0
            self.heads[task.value] = Head(width, TASKS[task].outputs, beside)

    def forward(self, video: Tensor, times: Tensor, region: Subset | None) -> dict[Task, Tensor]:
        """Predict.

        Args:
            video: Float (B, T, 1, H, W), normalised grey.
            times: Float (B, T), seconds from the window's start.
            region: Space positions to see, of :meth:`VideoEncoder.region`; None is all of them.

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
        region = self.encoder.region(batch.sector)
        moved = None if region is None else region.to(device)
        return batch.video.to(device), batch.times.to(device), moved

    def features(self, video: Tensor, times: Tensor, region: Subset | None) -> Tensor:
        """Fused features (B, ``stf_net.out_width``); arguments as in :meth:`forward`."""
        if isinstance(self.stf_net, BagPool):
            tokens = encode_alone(self.encoder, video, region)
        else:
            tokens = self.tokens(video, region)
            times = torch.unflatten(times, 1, (self.encoder.grid[0], -1)).mean(dim=2)
        fused: Tensor = self.stf_net(tokens, times, region)
        return fused

    def tokens(self, video: Tensor, region: Subset | None) -> Tensor:
        """What the fusion network reads of a video, (B, slots, p, D).

        The compact one reads all stages of the encoder, unless they are left out, the others its
        last.
        """
        grid = self.encoder.patches
        seen = None if region is None else region.in_every_slot(grid.slots, grid.positions)
        mix = self.stf_net.mix if isinstance(self.stf_net, CompactStfNet) else None
        if mix is not None:
            found = mix(self.encoder.levels(video, seen))
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
        grey = grey_cells(video, self.encoder.patches.patch, deviation=self._deviation)
        if region is not None:
            grey = region.put(region.take(grey), grey.shape[1])
        return grey.flatten(1)
