"""Synthetic changes of what the frames of a clip show: depth, gain, shadow, speckle noise.

Each takes the windows of one clip, a strength and the clip's own random generator, and returns
changed copies; frames ``(T, S, S)`` uint8 stay zero outside the sector, as they are in a store.
"""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from echofm_core.data.windows import Window

#: Decibels that the 255 grey levels of a picture are taken to span. Scanners show logarithms of
#: amplitudes, over a range that is set by hand and stands in no file; 60 dB is a usual setting.
DYNAMIC_RANGE = 60.0
#: The middle of a shadow lies in this middle share of the sector's angle: where the heart is.
SHADOWED = 0.5


def zoomed_out(windows: Sequence[Window], times: float, rng: np.random.Generator) -> list[Window]:
    """As a deeper setting shows a heart: ``times`` smaller, the top of the sector where it was.

    What lies deeper than was recorded is not known and black, and no part of the sector.
    """
    return [_shrunk(window, times) for window in windows]


def _shrunk(window: Window, times: float) -> Window:
    size = len(window.sector)
    small = round(size / times)
    top, middle = _top(window.sector)
    # A pixel at x comes to x / times + left.
    up, left = (min(round(at * (1 - 1 / times)), size - small) for at in (top, middle))
    put = np.s_[up : up + small, left : left + small]
    frames, sector = np.zeros_like(window.frames), np.zeros_like(window.sector)
    # By area, as a store makes its frames of larger pictures.
    sector[put] = _resized(window.sector.astype(np.uint8) * 255, small) >= 128
    for source, target in zip(window.frames, frames, strict=True):
        target[put] = _resized(source, small)
    return replace(window, frames=frames * sector, sector=sector)


def _resized(picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def gained(windows: Sequence[Window], decibels: float, rng: np.random.Generator) -> list[Window]:
    """With so many decibels more gain: grey levels move by ``255 / DYNAMIC_RANGE`` a decibel.

    Levels saturate at 0 and 255. What was below the range is taken to be at its lower end.
    """
    step = int(np.rint(decibels * 255 / DYNAMIC_RANGE))
    return [
        replace(window, frames=_grey(window.frames.astype(np.int16) + step, window.sector))
        for window in windows
    ]


def shadowed(windows: Sequence[Window], degrees: float, rng: np.random.Generator) -> list[Window]:
    """With a black radial sector of so many degrees, as behind a rib or lung.

    It begins at the top of the sector and stays where it is over the clip.
    """
    share = rng.uniform((1 - SHADOWED) / 2, (1 + SHADOWED) / 2)
    return [
        replace(window, frames=window.frames * ~_wedge(window.sector, degrees, share))
        for window in windows
    ]


def _wedge(sector: NDArray[np.bool_], degrees: float, share: float) -> NDArray[np.bool_]:
    """Pixels ``(S, S)`` in a shadow whose middle is at this share of the sector's angle."""
    if not sector.any():
        return np.zeros_like(sector)
    top, middle = _top(sector)
    rows, columns = np.indices(sector.shape)
    angles = np.degrees(np.arctan2(columns - middle, rows - top))
    # Beside a broad top, angles at the apex are right angles: the lower half has the flanks'.
    last = int(np.flatnonzero(sector.any(axis=1))[-1])
    deep = angles[sector & (rows >= (top + last) / 2)]
    centre = deep.min() + share * (deep.max() - deep.min())
    return np.asarray((np.abs(angles - centre) < degrees / 2) & sector)


def speckled(windows: Sequence[Window], spread: float, rng: np.random.Generator) -> list[Window]:
    """With multiplicative noise, new for each pixel and frame: ``x * (1 + spread * n)``, n normal.

    Source: the multiplicative model of speckle (Jain, Fundamentals of Digital Image Processing,
    1989), on grey levels as they are shown.
    """
    noises = (rng.standard_normal(window.frames.shape, np.float32) for window in windows)
    return [
        replace(window, frames=_grey(np.rint(window.frames * (1 + spread * noise)), window.sector))
        for window, noise in zip(windows, noises, strict=True)
    ]


def _grey(
    levels: NDArray[np.floating] | NDArray[np.integer], sector: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Levels as grey values, and none outside the sector."""
    return np.asarray(np.clip(levels, 0, 255), np.uint8) * sector


def _top(sector: NDArray[np.bool_]) -> tuple[int, float]:
    """First row of a sector, and the column in the middle of it; of none, the picture's."""
    rows = np.flatnonzero(sector.any(axis=1))
    if not len(rows):
        return 0, (sector.shape[1] - 1) / 2
    columns = np.flatnonzero(sector[rows[0]])
    return int(rows[0]), float(columns[0] + columns[-1]) / 2
