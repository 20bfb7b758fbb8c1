"""Video files to grey frames, through decord."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

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
    try:
        frames, fps = _read(source)
    except decord.DECORDError:
        frames, fps = _read_until_damage(source)
    except (RuntimeError, IndexError) as error:
        raise UnreadableFileError(f"a video cannot be decoded ({type(error).__name__}).") from None
    if not len(frames):
        raise UnreadableFileError("a video holds no whole frame.")
    return frames, fps if np.isfinite(fps) and fps > 0 else None


def _open(source: Path | BytesIO) -> Any:
    if isinstance(source, BytesIO):
        source.seek(0)
    place = str(source) if isinstance(source, Path) else source
    return decord.VideoReader(place, ctx=decord.cpu(0), num_threads=1)


def _read(source: Path | BytesIO) -> tuple[NDArray[np.uint8], float]:
    reader = _open(source)
    count = len(reader)
    chunks = [
        _luminance(reader.get_batch(range(start, min(start + CHUNK, count))).asnumpy())
        for start in range(0, count, CHUNK)
    ]
    return np.concatenate(chunks) if chunks else np.empty((0, 0, 0), np.uint8), _rate(reader)


def _read_until_damage(source: Path | BytesIO) -> tuple[NDArray[np.uint8], float]:
    """Frames up to the first that does not decode: those before a cut are sound.

    Through OpenCV, because decord's decoder thread reports damage ahead of the frames before it:
    how many of them one still gets depends on timing.
    """
    frames: list[NDArray[np.uint8]] = []
    # The FFmpeg backend by name: OpenCV's own AVI parser prints its complaints.
    path = str(source) if isinstance(source, Path) else ""
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG)
    try:
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        while (step := capture.read())[0]:
            frames.append(_luminance(np.asarray(step[1], dtype=np.uint8)[None, ..., ::-1])[0])
    finally:
        capture.release()
    return np.stack(frames) if frames else np.empty((0, 0, 0), np.uint8), fps


def _rate(reader: Any) -> float:
    return float(reader.get_avg_fps())


def _luminance(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """``(N, H, W, 3)`` to ``(N, H, W)``; exact where the three channels are equal."""
    count, height, width, _ = rgb.shape
    grey = cv2.cvtColor(
        np.ascontiguousarray(rgb).reshape(count * height, width, 3), cv2.COLOR_RGB2GRAY
    )
    return np.asarray(grey, dtype=np.uint8).reshape(count, height, width)
