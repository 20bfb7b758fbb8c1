"""Video files to grey frames, through decord."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import cv2
import decord
import numpy as np
from numpy.typing import NDArray

from echofm_core.errors import UnreadableFileError

#: Frames decoded at a time: bounds the colour copy of a long, large video.
CHUNK = 64

decord.logging.set_level(decord.logging.QUIET)


def read_grey(source: Path | BytesIO) -> tuple[NDArray[np.uint8], float | None]:
    """Decode every frame that is really there, whatever the header says.

    The read is contiguous: decord seeks anew for each index of a strided batch, four times slower
    on MJPEG. One decoder thread, and the reader never outlives the call, because decord's thread
    buffers ahead and does not survive a fork.

    Args:
        source: A video file, or one in memory.

    Returns:
        Frames ``(N, H, W)`` uint8, and frames a second, None where the container does not say.

    Raises:
        UnreadableFileError: Missing, empty, junk, or without one whole frame.
    """
    name = source.name if isinstance(source, Path) else "video in memory"
    try:
        reader = decord.VideoReader(
            str(source) if isinstance(source, Path) else source, ctx=decord.cpu(0), num_threads=1
        )
        count = len(reader)
        chunks = [
            _luminance(reader.get_batch(range(start, min(start + CHUNK, count))).asnumpy())
            for start in range(0, count, CHUNK)
        ]
        fps = float(reader.get_avg_fps())
    except (RuntimeError, IndexError, ValueError) as error:  # DECORDError is a ValueError
        raise UnreadableFileError(
            f"{name} cannot be decoded as video ({type(error).__name__})."
        ) from None
    if not chunks:
        raise UnreadableFileError(f"{name} holds no whole frame.")
    return np.concatenate(chunks), fps if np.isfinite(fps) and fps > 0 else None


def _luminance(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """``(N, H, W, 3)`` to ``(N, H, W)``; exact where the three channels are equal."""
    count, height, width, _ = rgb.shape
    grey = cv2.cvtColor(rgb.reshape(count * height, width, 3), cv2.COLOR_RGB2GRAY)
    return np.asarray(grey, dtype=np.uint8).reshape(count, height, width)
