"""Motion JPEG, as most echo videos are: the luminance of each picture, not by way of colour.

Every frame is a JPEG picture of its own, whose luminance libjpeg hands over as it is. A video
decoder makes colours of it first: that is three times the work, and grey made of those colours is
half a level too dark, because each of them was rounded down.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from echofm_core.data.hush import hushed
from echofm_core.data.limits import check_pixels

#: Pictures with sides of this many times the wanted one are decoded at half size: the cosine
#: transform gives that for half of the work.
AMPLE = 4
#: What every JPEG picture begins with.
START = b"\xff\xd8\xff"

_GREY = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION
_HALF = cv2.IMREAD_REDUCED_GRAYSCALE_2 | cv2.IMREAD_IGNORE_ORIENTATION


def read_luminance(file: Path, side: int | None) -> tuple[NDArray[np.uint8], float] | None:
    """Decode the pictures that are really there, up to the first that is damaged.

    Args:
        file: Any video.
        side: See :func:`echofm_core.data.video.read_grey`.

    Returns:
        Frames ``(N, H, W)`` uint8, or half of both sides, and frames a second as the container
        says, unchecked; None where this is not motion JPEG.

    Raises:
        UnreadableFileError: The clip is too long to be held in memory.
    """
    size = file.stat().st_size
    # The FFmpeg backend by name: OpenCV's own AVI parser prints its complaints.
    capture = cv2.VideoCapture(str(file), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    try:
        first, shape = _next_coded(capture), _declared_shape(capture)
        # A frame in two interlaced pictures, for instance, is the video decoder's business.
        if first is None or _shape(first) != shape:
            return None
        height, width = shape
        half = side is not None and min(shape) >= AMPLE * side
        if half:
            height, width = (height + 1) // 2, (width + 1) // 2
        coded = [first]
        while (data := _next_coded(capture)) is not None:
            coded.append(data)
            check_pixels(len(coded), height, width, size=size)
        fps = float(capture.get(cv2.CAP_PROP_FPS))
    finally:
        capture.release()
    return _decode(coded, height, width, _HALF if half else _GREY), fps


def _next_coded(capture: cv2.VideoCapture) -> NDArray[np.uint8] | None:
    there, data = capture.read()
    return np.asarray(data, dtype=np.uint8).reshape(-1) if there else None


def _declared_shape(capture: cv2.VideoCapture) -> tuple[int, int]:
    height, width = cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH
    return int(capture.get(height)), int(capture.get(width))


def _shape(coded: NDArray[np.uint8]) -> tuple[int, ...] | None:
    """Height and width of a picture; None where it is no JPEG, or a damaged one."""
    if coded[: len(START)].tobytes() != START:
        return None
    with hushed():
        picture = cv2.imdecode(coded, _GREY)
    return None if picture is None else picture.shape


def _decode(
    coded: Sequence[NDArray[np.uint8]], height: int, width: int, flags: int
) -> NDArray[np.uint8]:
    """Pictures to frames ``(N, H, W)``, as many as come before one that is damaged."""
    frames = np.empty((len(coded), height, width), dtype=np.uint8)
    with hushed():
        for number, data in enumerate(coded):
            picture = cv2.imdecode(data, flags)
            if picture is None or picture.shape != (height, width):
                return frames[:number]
            frames[number] = picture
    return frames
