"""Video files to grey frames: motion JPEG by its pictures, everything else by OpenCV's FFmpeg.

Not by decord, which is no faster on whole clips: some damaged files make it end the process, and it
writes the names of others to the terminal. What FFmpeg may open is in ``echofm_core/__init__.py``.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from echofm_core.data.limits import believable_rate, check_pixels
from echofm_core.data.motion_jpeg import read_luminance
from echofm_core.errors import UnreadableFileError


def read_grey(file: Path, side: int | None = None) -> tuple[NDArray[np.uint8], float | None]:
    """Decode every frame that is really there, whatever the header says.

    Args:
        file: An AVI or MP4 file.
        side: Side of the square, in pixels, that the frames will be fitted to: large motion JPEG
            then comes at half its size. None: at its own.

    Returns:
        Frames ``(N, H, W)`` uint8, and frames a second, None where the container does not say.

    Raises:
        UnreadableFileError: Missing, empty, junk, without one whole frame, or too long for memory.
    """
    try:
        frames, fps = read_luminance(file, side) or _read(file)
    except (OSError, RuntimeError, ValueError, cv2.error) as error:
        raise UnreadableFileError(f"a video cannot be decoded ({type(error).__name__}).") from None
    if not len(frames):
        raise UnreadableFileError(_without_frames(file))
    return frames, believable_rate(fps)


def _without_frames(file: Path) -> str:
    """Why no frame came: an empty file, no video at all, or a damaged one."""
    with file.open("rb") as stream:
        start = stream.read(12)
    if not start:
        return "a video file is empty."
    if start[:4] != b"RIFF" and start[4:8] != b"ftyp":
        return "a file named as a video is neither AVI nor MP4."
    return "a video holds no whole frame."


def _read(file: Path) -> tuple[NDArray[np.uint8], float]:
    """Frames up to the first that does not decode: those before a cut are sound."""
    size, frames = file.stat().st_size, list[NDArray[np.uint8]]()
    # The FFmpeg backend by name: OpenCV's own AVI parser prints its complaints.
    capture = cv2.VideoCapture(str(file), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    try:
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        while (step := capture.read())[0]:
            frames.append(np.asarray(cv2.cvtColor(step[1], cv2.COLOR_BGR2GRAY), np.uint8))
            check_pixels(len(frames), *frames[0].shape, size=size)
    finally:
        capture.release()
    return np.stack(frames) if frames else np.empty((0, 0, 0), np.uint8), fps
