"""The ultrasound sector: where there is image, and not text, bars or an ECG trace."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

#: Share of frames in which a place must change by a grey level or more to be alive. Speckle changes
#: nearly always, also in the dark flanks of a sector; the black around it and static text never,
#: and an ECG trace only when its sweep passes.
ALIVE = 0.3
#: Mean grey level below which a place is black but for coding noise, which changes too.
BLACK = 0.75
#: Grey level above which a pixel is lit.
LIT = 8
#: Side of the box over which both are averaged, as a share of the frame's longer side.
BLUR = 1 / 64
#: Opening radius, as a share of the frame's longer side: wider than text and ECG strokes.
STROKE = 0.012
#: Closing radius, as a share of the frame's longer side: bridges dark cavities.
GAP = 0.02
#: A sector smaller than this share of the frame is not believed.
SMALLEST = 0.03
#: The frame is cropped where the sector's box covers less than this share of it.
CROP_BELOW = 0.8

#: Left, top, right, bottom in pixels; right and bottom exclusive.
Box = tuple[int, int, int, int]


def estimate_sector(frames: NDArray[np.uint8], region: Box | None = None) -> NDArray[np.bool_]:
    """Convex hull of the largest area in which something moves.

    A clip in which nothing moves keeps its lit area.

    Args:
        frames: ``(N, H, W)`` uint8.
        region: The declared image region, already clipped to the frame; outside of it is nothing.

    Returns:
        ``(H, W)`` bool; all True where no plausible sector is found.
    """
    moving = (_activity(frames) >= ALIVE) & (_smooth(frames.mean(axis=0)) >= BLACK)
    if region is not None:
        left, top, right, bottom = region
        inside = np.zeros_like(moving)
        inside[top:bottom, left:right] = True
        moving &= inside
    sector = _largest_hull(moving)
    return sector if sector is not None else lit_area(frames)


def lit_area(frames: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Convex hull of what is lit in any frame ``(N, H, W)``; all True where that is nothing."""
    hull = _largest_hull(frames.max(axis=0) >= LIT)
    return hull if hull is not None else np.ones(frames.shape[1:], dtype=bool)


def crop(
    frames: NDArray[np.uint8], sector: NDArray[np.bool_]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Cut frames and sector to the sector's box, unless the sector nearly fills the frame."""
    rows, columns = np.flatnonzero(sector.any(axis=1)), np.flatnonzero(sector.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    if (bottom - top) * (right - left) >= CROP_BELOW * sector.size:
        return frames, sector
    return frames[:, top:bottom, left:right], sector[top:bottom, left:right]


def _activity(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Share of frames that differ from the one before, smoothed over space, ``(H, W)``."""
    total = np.zeros(frames.shape[1:], dtype=np.float32)
    for before, after in pairwise(frames):
        total += before != after
    return _smooth(total / max(1, len(frames) - 1))


def _smooth(picture: NDArray[np.floating]) -> NDArray[np.float32]:
    """Box mean over a few pixels."""
    side = max(3, round(BLUR * max(picture.shape)))
    return np.asarray(cv2.blur(picture.astype(np.float32), (side, side)), dtype=np.float32)


def _largest_hull(area: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """Open, close, take the largest component, fill its convex hull; None where too small."""
    longest = max(area.shape)
    mask: cv2.typing.MatLike = area.astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, _disc(1))
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, _disc(round(STROKE * longest)))
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, _disc(round(GAP * longest)))
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return None
    hull = cv2.convexHull(max(contours, key=cv2.contourArea))
    filled = cv2.fillConvexPoly(np.zeros(area.shape, np.uint8), hull, 1).astype(bool)
    return filled if filled.mean() >= SMALLEST else None


def _disc(radius: int) -> NDArray[np.uint8]:
    side = 2 * max(1, radius) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), dtype=np.uint8)
