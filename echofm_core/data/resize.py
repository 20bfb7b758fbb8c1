"""Letterboxing: any frame size to the store's square, aspect kept, black border."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def letterbox(frames: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
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


def letterbox_mask(mask: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """:func:`letterbox` for a mask ``(H, W)``; a pixel is in where half of it or more is."""
    grey = letterbox(mask[None].astype(np.uint8) * 255, size)[0]
    return np.asarray(grey >= 128, dtype=bool)
