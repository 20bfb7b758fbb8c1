"""The ultrasound sector: where there is image, and not text, bars or an ECG trace.

Speckle flickers from frame to frame; text and bars never change, and an ECG only where its sweep
passes. Where something flickers over an area, and not in thin strokes, there is sector; a wedge
fitted to that area is its shape. What a machine draws inside it is found by ``dicom/text.py``.
"""

from collections.abc import Iterator
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from echofm_core.data.dicom.text import LIT, Mask, disc, is_text, some
from echofm_core.data.dicom.wedge import fit_wedge
from echofm_core.runtime.errors import UnreadableFileError

#: Pixels on the longer side of the picture in which a sector is searched, about.
SIDE = 640
#: Share of frames in which a place must change, and mean grey level that it must have, to be alive:
#: in the open; and where a sector is so dark that few echoes reach the first grey level.
ALIVE, BLACK = 0.3, 0.75
FAINT_ALIVE, FAINT_BLACK = 0.06, 0.05
#: Share of its surroundings' brightness below which a place is the ringing of lossy coding, and
#: pixels across which ringing goes: a block of JPEG.
RINGING, BLOCK = 0.2, 9
#: Side of the box over which change and brightness are averaged, as a share of the longer side.
BLUR = 1 / 64
#: Opening radii, as a share of the longer side: more than text and ECG strokes; and more than a
#: strip of ECG that touches the sector.
STROKE, STRIP = 0.008, 0.03
#: Closing radius, as a share of the longer side: bridges dark cavities.
GAP = 0.02
#: A wedge is believed if it holds so much of what is alive, and so much of it is alive.
KEPT, FILLED = 0.95, 0.35
#: The same where a strip has been opened away, which is alive.
KEPT_OPENED = 0.8
#: A sector smaller than this share of the frame is not believed.
SMALLEST = 0.03
#: The frame is cropped where the sector's box covers less than this share of it.
CROP_BELOW = 0.8

#: Left, top, right, bottom in pixels; right and bottom exclusive.
Box = tuple[int, int, int, int]


class NoSectorError(UnreadableFileError):
    """A clip shows no ultrasound sector, and may be anything, a page of a report too."""

    kind = "no_sector"


def find_sector(
    frames: NDArray[np.uint8], region: Box | None = None, *, refuse_text: bool = True
) -> Mask | None:
    """The wedge that fits what flickers; where none fits, the convex hull of that.

    In a clip in which nothing moves, it is the wedge that fits what is lit.

    Args:
        frames: ``(N, H, W)`` uint8.
        region: The declared image region, already clipped to the frame; outside of it is nothing.
        refuse_text: Whether what looks like text is no sector; a small video may look so.

    Returns:
        ``(H, W)`` bool; None where no plausible sector is found, or what is found is refused.
    """
    sector = _find(frames, region)
    if sector is None or (refuse_text and is_text(frames, sector)):
        return None
    return sector


def _find(frames: NDArray[np.uint8], region: Box | None) -> Mask | None:
    height, width = frames.shape[1:]
    step, rows, columns = _thinned(height, width)
    few = some(frames)[:, rows, columns]
    inside = np.ones((height, width), dtype=bool)
    if region is not None:
        left, top, right, bottom = region
        inside[:] = False
        inside[top:bottom, left:right] = True
    within = inside[rows, columns]
    change, brightness = _activity(few) * within, few.mean(axis=0, dtype=np.float32) * within
    alive = _area(change, brightness, ALIVE, BLACK)
    hull = _hull(alive)
    seen_as = [(_area(change, brightness, FAINT_ALIVE, FAINT_BLACK), alive), (alive, alive)]
    if hull is None:  # nothing moves
        lit = _without_strokes((few.max(axis=0) >= LIT) & within)
        seen_as.append((lit, lit))
    for area, seen, kept in _candidates(seen_as):
        wedge = fit_wedge(area)
        if wedge is not None:
            sector = wedge.mask(height, width, step) & inside
            if _fits(sector[rows, columns], seen, kept):
                return sector
    return None if hull is None else _grown(hull, height, width) & inside


def lit_area(frames: NDArray[np.uint8]) -> Mask:
    """Convex hull of what is lit in any frame ``(N, H, W)``; all True where that is nothing."""
    height, width = frames.shape[1:]
    _, rows, columns = _thinned(height, width)
    hull = _hull(_without_strokes(frames[:, rows, columns].max(axis=0) >= LIT))
    return np.ones((height, width), dtype=bool) if hull is None else _grown(hull, height, width)


def crop(frames: NDArray[np.uint8], sector: Mask) -> tuple[NDArray[np.uint8], Mask]:
    """Cut frames and sector to the sector's box, unless the sector nearly fills the frame."""
    rows, columns = np.flatnonzero(sector.any(axis=1)), np.flatnonzero(sector.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    if (bottom - top) * (right - left) >= CROP_BELOW * sector.size:
        return frames, sector
    return frames[:, top:bottom, left:right], sector[top:bottom, left:right]


def _thinned(height: int, width: int) -> tuple[int, slice, slice]:
    """The step between rows and columns that are used, and which; at least one of each."""
    step = max(1, round(max(height, width) / SIDE))
    rows, columns = (slice(min(step // 2, side - 1), None, step) for side in (height, width))
    return step, rows, columns


def _grown(mask: Mask, height: int, width: int) -> Mask:
    """A mask of the thinned picture, at the size of the whole."""
    if mask.shape == (height, width):
        return mask
    grown = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    return grown.astype(bool)


def _candidates(seen_as: list[tuple[Mask, Mask]]) -> Iterator[tuple[Mask, Mask, float]]:
    """Areas to fit a wedge to, best first, with what it must hold and how much of that."""
    for area, seen in seen_as:
        strip = STRIP * max(area.shape)
        yield _largest(area), seen, KEPT
        yield _largest(_morph(area, cv2.MORPH_OPEN, strip)), seen, KEPT_OPENED


def _fits(sector: Mask, seen: Mask, kept: float) -> bool:
    both = np.count_nonzero(sector & seen)
    return bool(
        sector.mean() >= SMALLEST
        and both >= kept * np.count_nonzero(seen)
        and both >= FILLED * np.count_nonzero(sector)
    )


def _activity(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Share of frames that differ from the one before, ``(H, W)``."""
    total = np.zeros(frames.shape[1:], dtype=np.uint8)  # of some() frames
    for before, after in pairwise(frames):
        total += before != after
    return np.asarray(total / max(1, len(frames) - 1), np.float32)


def _area(
    change: NDArray[np.float32], brightness: NDArray[np.float32], alive: float, black: float
) -> Mask:
    """Where it flickers, without thin strokes and with dark cavities."""
    side = max(3, round(BLUR * max(change.shape)))
    near = cv2.blur(brightness, (3, 3))
    across = max(BLOCK, side + 2)
    surroundings = cv2.dilate(near, np.ones((across, across), np.uint8))
    area = (cv2.blur(change, (side, side)) >= alive) & (cv2.blur(change, (3, 3)) >= alive / 2)
    area &= (cv2.blur(brightness, (side, side)) >= black) & (near >= RINGING * surroundings)
    return _without_strokes(area)


def _without_strokes(area: Mask) -> Mask:
    longest = max(area.shape)
    area = _morph(area, cv2.MORPH_CLOSE, 1)
    area = _morph(area, cv2.MORPH_OPEN, STROKE * longest)
    return _morph(area, cv2.MORPH_CLOSE, GAP * longest)


def _morph(area: Mask, kind: int, radius: float) -> Mask:
    return cv2.morphologyEx(area.astype(np.uint8), kind, disc(radius)).astype(bool)


def _largest(area: Mask) -> Mask:
    """The largest connected part, empty where there is none."""
    _, labels, facts, _ = cv2.connectedComponentsWithStats(area.astype(np.uint8))
    sizes = facts[1:, cv2.CC_STAT_AREA]
    return labels == 1 + int(np.argmax(sizes)) if len(sizes) else area


def _hull(area: Mask) -> Mask | None:
    """Convex hull of the largest connected part; None where it is too small."""
    contours, _ = cv2.findContours(area.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return None
    hull = cv2.convexHull(max(contours, key=cv2.contourArea))
    filled = cv2.fillConvexPoly(np.zeros(area.shape, np.uint8), hull, 1).astype(bool)
    return filled if filled.mean() >= SMALLEST else None
