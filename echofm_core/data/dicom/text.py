"""Text on the screen: pages of it that pass for a sector, and what is burnt into a sector.

A stroke of text has edges that no echo has, because a scanner's speckle is as wide as its beam; and
burnt-in text never changes while the speckle around it does.
"""

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

#: Frames that are used, at most.
FRAMES = 32
#: A step between neighbours is sharp from this share of the clip's brightest levels on, and from so
#: many levels on. Sharp steps are this share of a sector at most. On two real cines they are under
#: 0.01 %, on phantoms up to 0.2 %, on pages of text 4 to 30 %.
STEP, LEAST_STEP, MOST_SHARP = 0.4, 40, 0.03
#: Grey level above which a pixel is lit.
LIT = 8

#: Burnt in is what changes by this share of its surroundings' change at most, ...
STILL = 0.5
#: ... where these change by so many levels from frame to frame, ...
FLICKER = 1.5
#: ... and is at all times this much brighter than their mean, in levels added to a multiple, ...
BRIGHTER, LEVELS = 1.3, 15
#: ... with an edge: within a few pixels it falls to this share.
EDGE = 0.7
#: Its surroundings, as a share of the longer side; and how far an edge reaches.
AROUND, REACH = 1 / 16, 1 / 320
#: Pixels that belong together are so near each other, and so many of them are text: both as a share
#: of the longer side, in pixels.
NEAR, FEWEST = 0.012, 0.1
#: Blacked out are its strokes, what lies between them, and this rim.
RIM = 0.008

Mask = NDArray[np.bool_]


def some(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """At most ``FRAMES`` of the frames ``(N, H, W)``, evenly taken."""
    return frames[:: -(-len(frames) // FRAMES)]


def is_text(frames: NDArray[np.uint8], area: Mask) -> bool:
    """Has an area ``(H, W)`` of frames ``(N, H, W)`` more sharp edges than ultrasound has?"""
    few = some(frames)
    lit = few[:, area]
    lit = lit[lit >= LIT]
    if not lit.size:
        return False
    step = max(LEAST_STEP, STEP * float(np.percentile(lit, 99)))
    # Its own border is an edge too, and most of a small picture's.
    inner = cv2.erode(area.astype(np.uint8), _square(2), borderValue=1).astype(bool)
    both = inner[:, 1:] & inner[:, :-1]
    steps = (np.asarray(cv2.absdiff(frame[:, 1:], frame[:, :-1]))[both] for frame in few)
    sharp = sum(int(np.count_nonzero(size > step)) for size in steps)
    return sharp > MOST_SHARP * len(few) * int(np.count_nonzero(both))


def burnt_in(frames: NDArray[np.uint8], sector: Mask) -> Mask:
    """Text within a sector, with what lies between its letters, ``(H, W)``.

    Args:
        frames: ``(N, H, W)`` uint8; what stands still in all of them is kept apart from what moves.
        sector: ``(H, W)``.
    """
    longest = max(sector.shape)
    strokes = _strokes(frames, sector)
    near = disc(NEAR * longest)
    count, groups = cv2.connectedComponents(cv2.dilate(strokes.astype(np.uint8), near))
    sizes = np.bincount(groups[strokes], minlength=count)
    words = strokes & (sizes >= FEWEST * longest)[groups]
    if not words.any():
        return np.asarray(words)
    whole = cv2.morphologyEx(words.astype(np.uint8), cv2.MORPH_CLOSE, disc(2 * NEAR * longest))
    return np.asarray(cv2.dilate(whole, disc(RIM * longest)).astype(bool) & sector)


def _strokes(frames: NDArray[np.uint8], sector: Mask) -> Mask:
    """Bright pixels with an edge that stand still among pixels that do not."""
    few = some(frames)
    height, width = sector.shape
    change = np.zeros((height, width), np.float32)
    for before, after in pairwise(few):
        change += cv2.absdiff(before, after)
    change /= max(1, len(few) - 1)
    mean = few.mean(axis=0, dtype=np.float32)
    side = max(15, round(AROUND * max(height, width)))
    share = cv2.blur(sector.astype(np.float32), (side, side)) + 1e-6
    flicker = cv2.blur(change * sector, (side, side)) / share
    level = cv2.blur(mean * sector, (side, side)) / share
    still = (change <= STILL * flicker) & (flicker >= FLICKER)
    bright = few.min(axis=0) >= BRIGHTER * level + LEVELS
    edged = cv2.erode(mean, _square(REACH * max(height, width))) <= EDGE * mean
    return np.asarray(sector & still & bright & edged)


def disc(radius: float) -> NDArray[np.uint8]:
    """A disc to widen or narrow a mask by, in pixels."""
    side = 2 * max(1, round(radius)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


def _square(radius: float) -> NDArray[np.uint8]:
    side = 2 * max(1, round(radius)) + 1
    return np.ones((side, side), np.uint8)
