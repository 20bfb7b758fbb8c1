"""Any picture into the square that a store holds.

Where the size of a pixel is known, the square shows as many centimetres as at every other site, the
sector's top at its top: the same heart is then as large whatever the depth, and as wide as long
whatever the scanner's pixels. Else the picture is letterboxed: aspect kept, black border.
"""

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from echofm_core.data.config import Square
from echofm_core.data.limits import PixelSize

Frames = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def in_square(
    frames: Frames, sector: Mask, pixel: PixelSize | None, square: Square
) -> tuple[Frames, Mask]:
    """Frames and their sector as a store holds them.

    Args:
        frames, sector: ``(N, H, W)`` and ``(H, W)``.
        pixel: None where unknown.
        square: Its side, and how many centimetres it shows.

    Returns:
        ``(N, S, S)``, zero outside the sector, and ``(S, S)``.
    """
    fit: Callable[[Frames], Frames]
    if pixel is None or not square.field_cm:
        fit = partial(letterbox, size=square.size)
    else:
        rows, columns = (max(1, round(square.field_cm / cm)) for cm in (pixel.down, pixel.across))
        inside = np.flatnonzero(sector.any(axis=0))
        top = int(sector.any(axis=1).argmax())
        left = round((inside[0] + inside[-1] + 1 - columns) / 2)
        fit = partial(_cut, top=top, left=left, shape=(rows, columns), size=square.size)
    # A pixel is in where half of it or more is.
    mask = fit(sector[None].astype(np.uint8) * 255)[0] >= 128
    return np.ascontiguousarray(fit(frames) * mask), mask


def letterbox(frames: Frames, size: int) -> Frames:
    """Fit frames into a square by area averaging (linear when enlarging), centred.

    Args:
        frames: ``(N, H, W)`` uint8.
        size: Side S of the square, in pixels.

    Returns:
        ``(N, S, S)`` uint8; the frames themselves where they have that size already.
    """
    height, width = frames.shape[1:]
    if height == width == size:
        return frames
    scale = size / max(height, width)
    new_height, new_width = (max(1, round(side * scale)) for side in (height, width))
    top, left = (size - new_height) // 2, (size - new_width) // 2
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    square = np.zeros((len(frames), size, size), dtype=np.uint8)
    for source, target in zip(frames, square, strict=True):
        target[top : top + new_height, left : left + new_width] = cv2.resize(
            source, (new_width, new_height), interpolation=method
        )
    return square


def _cut(frames: Frames, top: int, left: int, shape: tuple[int, int], size: int) -> Frames:
    """A box of the frames, black where it passes them, squeezed into a square."""
    rows, columns = shape
    height, width = frames.shape[1:]
    method = cv2.INTER_AREA if min(shape) >= size else cv2.INTER_LINEAR
    taken = slice(max(0, top), top + rows), slice(max(0, left), max(0, left + columns))
    box, square = np.zeros(shape, np.uint8), np.zeros((len(frames), size, size), np.uint8)
    first = max(0, -top), max(0, -left)
    there = min(height, top + rows) - max(0, top), min(width, left + columns) - max(0, left)
    put = tuple(slice(start, start + length) for start, length in zip(first, there, strict=True))
    for source, target in zip(frames, square, strict=True):
        box[put] = source[taken]
        target[:] = cv2.resize(box, (size, size), interpolation=method)
    return square
