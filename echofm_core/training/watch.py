"""What is watched of an encoder while it is pre-trained: its features on some clips of a site."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echofm_core.data.patients import patient_keys
from echofm_core.data.windows import ClipWindows, to_batch
from echofm_core.evaluation.effective_rank import effective_rank
from echofm_core.models.pooling import mean_over_positions
from echofm_core.models.video_vit import VideoEncoder
from echofm_core.training.config import PhaseConfig
from echofm_core.training.execution.devices import autocast, find_device


def feature_rank(
    encoder: VideoEncoder, clips: ClipWindows, config: PhaseConfig, *, patients: int, device: str
) -> float:
    """Effective rank of an encoder's features of one clip of each of so many patients.

    The clips are the same in every round, and nothing is drawn: the first one of each patient, in
    the order of the manifest, and of it the first test window. The encoder is put into evaluation
    mode and onto the device.

    Returns:
        As of :func:`effective_rank`, at most the number of patients.
    """
    first = (~patient_keys(clips.manifest).duplicated()).to_numpy()
    rows = np.flatnonzero(first)[:patients]
    return effective_rank(pooled_features(encoder, clips, rows, config, find_device(device)))


@torch.inference_mode()
def pooled_features(
    encoder: VideoEncoder,
    clips: ClipWindows,
    rows: NDArray[np.int64],
    config: PhaseConfig,
    device: torch.device,
) -> Tensor:
    """Mean of the last stage's tokens inside the sector, nothing hidden: float32 (N, D) on the CPU.

    Of the first test window of each of N rows of the clips.
    """
    encoder.to(device).eval()
    found = []
    for start in range(0, len(rows), config.batch_size):
        chosen = rows[start : start + config.batch_size]
        batch = to_batch([clips.test_windows(int(row))[0] for row in chosen])
        region = encoder.region(batch.sector)
        region = None if region is None else region.to(device)
        grid = encoder.patches
        seen = None if region is None else region.in_every_slot(grid.slots, grid.positions)
        with autocast(device, config.precision):
            tokens = encoder(batch.video.to(device), seen).float()
        slots = torch.unflatten(tokens, 1, (grid.slots, -1))
        found.append(mean_over_positions(slots, region).mean(dim=1).cpu())
    return torch.cat(found) if found else torch.zeros(0, encoder.width)
