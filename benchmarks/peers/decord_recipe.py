"""Videos as published training code reads them: decord, then torchvision's resize."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import decord
import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.transforms.v2.functional import resize


def strided_window(file: Path, indices: Sequence[int]) -> NDArray[np.uint8]:
    """Frames ``(T, H, W, 3)`` by their indices, the video opened anew, as a data set's item is."""
    return _batch(_open(file), indices)


def contiguous_window(file: Path, indices: Sequence[int]) -> NDArray[np.uint8]:
    """The same frames by the way that is fastest in decord: one span, then a slice."""
    start, step = indices[0], indices[1] - indices[0]
    return _batch(_open(file), range(start, indices[-1] + 1))[::step]


def whole_clip(file: Path, size: int) -> torch.Tensor:
    """All frames ``(N, 3, S, S)`` uint8, resized as they lie in memory, which is fastest."""
    reader = _open(file)
    frames = torch.from_numpy(_batch(reader, range(len(reader))))
    resized: torch.Tensor = resize(frames.permute(0, 3, 1, 2), [size, size], antialias=True)
    return resized


def _open(file: Path) -> decord.VideoReader:
    return decord.VideoReader(str(file), ctx=decord.cpu(0), num_threads=1)


def _batch(reader: decord.VideoReader, indices: Sequence[int]) -> NDArray[np.uint8]:
    frames: NDArray[np.uint8] = reader.get_batch(list(indices)).asnumpy()
    return frames
