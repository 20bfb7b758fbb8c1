"""Windows: the T frames of a clip that a model sees, at even times over a fixed duration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from echofm_core.data.config import DataConfig
from echofm_core.data.formats.timeline import Pick, Timeline
from echofm_core.data.store.clip_store import ClipStore
from echofm_core.runtime.errors import StoreError

#: Mean and standard deviation of grey levels in [0, 1]; fixed, so that no site's statistics leak.
#: Source: the normalisation published with EchoPrime (29.11 and 47.99 of 255).
MEAN = 0.1142
SD = 0.1882


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """What the model sees of one clip.

    Attributes:
        frames: ``(T, S, S)`` uint8.
        times: ``(T,)`` float32, seconds from the window's start; evenly scaled to the plan's
            ``window_seconds`` where the frame rate is unknown.
        sector: ``(S, S)`` bool, True inside the ultrasound sector.
    """

    frames: NDArray[np.uint8]
    times: NDArray[np.float32]
    sector: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Windows as tensors.

    Attributes:
        video: ``(B, T, 1, S, S)`` float32, normalised.
        times: ``(B, T)`` float32, seconds.
        sector: ``(B, S, S)`` bool.
    """

    video: torch.Tensor
    times: torch.Tensor
    sector: torch.Tensor

    def rows(self, part: slice) -> Batch:
        """Some of the windows."""
        return Batch(self.video[part], self.times[part], self.sector[part])


class ClipWindows:
    """Windows of the clips of a manifest that are in a store.

    Args:
        store: Decoded clips.
        manifest: Rows to serve; those that are not in the store are left out.
        config: Uses frames, duration and number of test windows.

    Raises:
        StoreError: The store holds frames of another size than the plan asks for.
    """

    def __init__(self, store: ClipStore, manifest: pd.DataFrame, config: DataConfig) -> None:
        if store.square != config.square:
            raise StoreError(
                f"the clip store {store.folder} holds frames of {store.square}, the plan asks for "
                f"{config.square}; build it again with `echofm data store --plan`."
            )
        present = np.array([str(clip) in store for clip in manifest["clip_id"]], dtype=bool)
        self.manifest = manifest[present].reset_index(drop=True)
        self.store = store
        self._clips = [str(clip) for clip in self.manifest["clip_id"]]
        self.timelines = [
            Timeline(
                length=store.length(clip),
                fps=store.fps(clip),
                frames=config.frames,
                seconds=config.window_seconds,
                times=store.times(clip),
            )
            for clip in self._clips
        ]
        self._test_windows = config.test_windows

    def __len__(self) -> int:
        return len(self._clips)

    def test_windows(self, index: int) -> list[Window]:
        """At most ``config.test_windows`` windows that cover the clip evenly; at least one."""
        return [self.cut(index, pick) for pick in self.timelines[index].cover(self._test_windows)]

    def cut(self, index: int, pick: Pick) -> Window:
        """The window of these frames."""
        clip = self._clips[index]
        start, stop = int(pick.indices.min()), int(pick.indices.max()) + 1
        frames = self.store.frames(clip, start, stop)[pick.indices - start]
        return Window(frames, pick.times, self.store.sector(clip))


def to_batch(windows: Sequence[Window]) -> Batch:
    """Stack windows and normalise grey levels: ``(x / 255 - MEAN) / SD``."""
    grey = torch.from_numpy(np.stack([window.frames for window in windows])).float()
    return Batch(
        video=grey.div_(255).sub_(MEAN).div_(SD).unsqueeze(2),
        times=torch.from_numpy(np.stack([window.times for window in windows])),
        sector=torch.from_numpy(np.stack([window.sector for window in windows])),
    )
