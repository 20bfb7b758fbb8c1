"""What is watched of an encoder while it is pre-trained: its features on some clips of a site."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echofm_core.contract import EF_PROBE, EFFECTIVE_RANK
from echofm_core.data.patients import patient_keys
from echofm_core.data.windows import ClipWindows, to_batch
from echofm_core.evaluation.effective_rank import effective_rank
from echofm_core.evaluation.ridge_probe import left_out_r2
from echofm_core.models.pooling import mean_over_positions
from echofm_core.models.video_vit import VideoEncoder
from echofm_core.tasks import Task
from echofm_core.training.config import PretrainConfig
from echofm_core.training.execution.devices import autocast, find_device
from echofm_core.training.objectives.targets import labels_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Watched:
    """Of whom an encoder's features are looked at: of one clip each.

    The clips are the same in every round, and nothing is drawn: the first one of each patient, in
    the order of the manifest, and of it the first test window.

    Attributes:
        ranked: Rows of the clips behind the effective rank.
        probed: Rows of those behind the probe; each has an EF.
        efs: Their EF in percent.
    """

    ranked: NDArray[np.int64]
    probed: NDArray[np.int64]
    efs: NDArray[np.float64]

    @classmethod
    def of(cls, clips: ClipWindows, config: PretrainConfig, *, least: int) -> "Watched":
        """Those whom a plan wants, and no fewer than ``least`` patients behind either number.

        A number that leaves has as many patients behind it as the site's policy wants; a probe that
        has fewer with an EF is of nobody.
        """
        ef = labels_of(clips.manifest, (Task.EF,), 0.0)[Task.EF].astype(np.float64)
        keys = patient_keys(clips.manifest)
        ranked = np.flatnonzero((~keys.duplicated()).to_numpy())
        known = np.flatnonzero(np.isfinite(ef))
        probed = known[(~keys.iloc[known].duplicated()).to_numpy()]
        ranked = ranked[: max(config.watch_patients, least) if config.watch_patients else 0]
        probed = probed[: max(config.probe_patients, least) if config.probe_patients else 0]
        probed = probed if len(probed) >= least else probed[:0]
        return cls(ranked=ranked, probed=probed, efs=ef[probed])


def watch(
    encoder: VideoEncoder, clips: ClipWindows, config: PretrainConfig, of: Watched, *, device: str
) -> dict[str, float]:
    """What an encoder's features are like: metrics by name, without those that are not finite.

    The effective rank of their means over time, at most the number of patients; and how well a
    ridge regression reads the EF from their means and standard deviations over time. The encoder is
    put into evaluation mode and onto the device.
    """
    rows = np.union1d(of.ranked, of.probed)
    slots = slot_features(encoder, clips, rows, config, find_device(device))
    means = slots.mean(dim=1)
    found = {}
    if len(of.ranked):
        found[EFFECTIVE_RANK] = effective_rank(means[np.isin(rows, of.ranked)])
    if len(of.probed):
        both = torch.cat([means, slots.std(dim=1, unbiased=False)], dim=1)
        features = both[np.searchsorted(rows, of.probed)].double().numpy()
        found[EF_PROBE] = left_out_r2(features, of.efs)
    return {name: value for name, value in found.items() if np.isfinite(value)}


@torch.inference_mode()
def slot_features(
    encoder: VideoEncoder,
    clips: ClipWindows,
    rows: NDArray[np.int64],
    config: PretrainConfig,
    device: torch.device,
) -> Tensor:
    """Mean of the last stage's tokens inside the sector in each time slot, nothing hidden.

    Of the first test window of each of N rows of the clips: float32 (N, T, D) on the CPU.
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
        found.append(mean_over_positions(slots, region).cpu())
    return torch.cat(found) if found else torch.zeros(0, encoder.patches.slots, encoder.width)
