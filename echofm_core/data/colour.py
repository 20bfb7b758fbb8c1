"""Is colour flow in a picture? The one rule for every container; the samples decide, no header.

Scanners tint their grey maps and draw coloured text, ECG and bars: neither is flow. Flow is a patch
whose colour is not that of the rest of the picture at the same brightness.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from echofm_core.runtime.errors import UnreadableFileError

#: Frames that are checked, spread over a cine: a jet is gone for half of the beat.
FRAMES = 8
#: Longer side, in pixels, at which a picture is checked: means of blocks close the gaps that a
#: jet's noise leaves, and thin strokes fade.
SIDE = 320
#: Distance of a pixel's chroma (Cb and Cr, 0 to 255) from what is usual at its brightness, above
#: which it is coloured. What is usual is measured: scanners tint their grey maps.
TINT = 36.0
#: Distance of the median chroma from none up to which a grey map is not tinted.
NEUTRAL = 4.0
#: Level, 0 to 1, below which a pixel's chroma is noise.
DARK = 0.1
#: Width in those pixels of the thinnest coloured thing that counts: more than strokes of text and
#: of an ECG.
STROKE = 3
#: Share of the image region that must be so coloured.
SHARE = 0.003


class ColourFlowError(UnreadableFileError):
    """A clip of which some frame shows colour flow."""

    kind = "colour_doppler"

    def __init__(self, message: str = "The cine shows colour flow over the grey image.") -> None:
        super().__init__(message)


def spread(count: int) -> list[int]:
    """Numbers of the frames of a cine that are checked for colour flow, in order.

    Raises:
        ValueError: It has none.
    """
    if count < 1:
        raise ValueError("no whole frame")
    return sorted({round(number) for number in np.linspace(0, count - 1, FRAMES)})


def jpeg_to_grey(image: NDArray[np.uint8], half: bool = False) -> NDArray[np.uint8] | None:
    """Luminance ``(H, W)`` uint8 of a JPEG, or of its half size; None where it is damaged."""
    flags = cv2.IMREAD_REDUCED_GRAYSCALE_2 if half else cv2.IMREAD_GRAYSCALE
    picture = cv2.imdecode(image, flags | cv2.IMREAD_IGNORE_ORIENTATION)
    return None if picture is None else np.asarray(picture, np.uint8)


def jpeg_to_rgb(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8] | None:
    """A JPEG as RGB ``(H, W, 3)``, half as large where it is large; None where it is damaged."""
    half = max(height, width) >= 2 * SIDE
    flags = cv2.IMREAD_REDUCED_COLOR_2 if half else cv2.IMREAD_COLOR
    picture = cv2.imdecode(image, flags | cv2.IMREAD_IGNORE_ORIENTATION)
    return None if picture is None else np.ascontiguousarray(picture[..., ::-1])


def is_coloured(picture: NDArray[np.uint8], box: tuple[int, int, int, int] | None = None) -> bool:
    """Does a patch in the picture have a colour of its own?

    Args:
        picture: RGB ``(H, W, 3)`` uint8; a smaller form of the frame does.
        box: Left, top, right, bottom of the image region, in pixels; None: the whole picture.
    """
    longer = max(picture.shape[:2])
    left, top, right, bottom = box or (0, 0, picture.shape[1], picture.shape[0])
    inside = picture[top:bottom, left:right]
    if longer > SIDE:
        size = [max(1, round(side * SIDE / longer)) for side in (right - left, bottom - top)]
        inside = np.asarray(cv2.resize(inside, size, interpolation=cv2.INTER_AREA), np.uint8)
    converted = np.asarray(cv2.cvtColor(inside, cv2.COLOR_RGB2YCrCb), np.uint8)
    extremes = [cv2.minMaxLoc(channel)[:2] for channel in cv2.split(converted)[1:]]
    if max(high - low for low, high in extremes) <= TINT:  # as of most grey cines
        return False
    parts = np.asarray(converted[::3, ::3], np.float32) - np.array([0, 128, 128], np.float32)
    level, chroma = parts[..., :1] / np.float32(255), parts[..., 1:]
    lit = level[..., 0] > DARK
    if not lit.any() or np.abs(np.median(chroma[lit], axis=0)).max() <= NEUTRAL:
        apart = np.abs(converted[..., 1:].astype(np.float32) - 128).max(axis=-1)
    else:
        usual = _tint(level[lit], chroma[lit])
        parts = np.asarray(converted, np.float32) - np.array([0, 128, 128], np.float32)
        apart = np.abs(parts[..., 1:] - usual(parts[..., :1] / np.float32(255))).max(axis=-1)
    patch = cv2.erode((apart > TINT).astype(np.uint8), np.ones((STROKE, STROKE), np.uint8))
    return bool(patch.mean() > SHARE)


def _tint(
    steps: NDArray[np.float32], wanted: NDArray[np.float32]
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """The chroma ``(..., 2)`` that most pixels have at a level ``(..., 1)``, as a parabola from 0.

    Args:
        steps: Levels ``(n, 1)`` of lit pixels.
        wanted: Their chroma ``(n, 2)``.

    It is fitted with least absolute differences, to which a minority of colours is nothing.
    """
    terms = np.concatenate([steps, steps**2], axis=-1)
    factors = np.zeros((2, 2), np.float32)
    for _ in range(10):
        off = np.abs(wanted - terms @ factors).max(axis=-1)
        weighted = terms / np.maximum(off, 1)[:, None]
        factors = np.linalg.lstsq(weighted.T @ terms, weighted.T @ wanted, rcond=None)[0]
    return lambda at: np.concatenate([at, at**2], axis=-1) @ factors
