"""Videos as the public data sets have them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

#: Bytes that begin like a video and are none.
NO_VIDEO = b"RIFF....AVI not a video at all"


def write_avi(path: Path, frames: NDArray[np.uint8], fps: float) -> None:
    """Write grey frames (N, H, W) as MJPG AVI."""
    size = (frames.shape[2], frames.shape[1])
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, size)
    for frame in frames:
        video.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    video.release()
