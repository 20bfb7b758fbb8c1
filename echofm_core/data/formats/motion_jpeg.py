"""Motion JPEG, as most echo videos are: the luminance of each picture, not by way of colour.

Every frame is a JPEG picture of its own, whose luminance libjpeg hands over as it is. A video
decoder makes colours of it first: that is three times the work, and grey made of those colours is
half a level too dark, because each of them was rounded down.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from echofm_core.data.cine import Assembly, Cine, pace
from echofm_core.data.colour import SIDE, ColourFlowError, is_coloured, spread
from echofm_core.data.limits import check_pixels
from echofm_core.data.silence import silenced

#: Pictures with sides of this many times the wanted one are decoded at half size: the cosine
#: transform gives that for half of the work.
AMPLE = 4
#: What every JPEG picture begins with.
START = b"\xff\xd8\xff"

_GREY = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION
_HALF = cv2.IMREAD_REDUCED_GRAYSCALE_2 | cv2.IMREAD_IGNORE_ORIENTATION


def read_luminance(file: Path, side: int | None) -> Cine | None:
    """Decode the pictures that are really there.

    Args:
        file: Any video.
        side: See :func:`echofm_core.data.formats.video.read_grey`.

    Returns:
        The cine at its own size, or half of both sides; None where this is not motion JPEG.

    Raises:
        UnreadableFileError: The clip is too long to be held in memory, or shows colour flow.
    """
    pictures = coded_pictures(file, side)
    if pictures is None:
        return None
    coded, times, (height, width), fps = pictures
    half = _is_ample(height, width, side)
    if any(map(is_coloured, some_colours(coded, (height, width)))):
        raise ColourFlowError
    assembly = Assembly(len(coded))
    with silenced():
        for data in coded:
            picture = cv2.imdecode(data, _HALF if half else _GREY)
            assembly.add(None if picture is None else np.asarray(picture, np.uint8))
    frames, which, notes = assembly.end()
    rate, uneven = pace(np.array(times[which]), fps)
    return Cine(frames, rate, times=uneven, notes=notes)


class Coded(NamedTuple):
    """A motion JPEG as it is stored: pictures, times in seconds, height and width, stated rate."""

    pictures: list[NDArray[np.uint8]]
    times: list[float]
    shape: tuple[int, int]
    fps: float


def coded_pictures(file: Path, side: int | None = None) -> Coded | None:
    """The pictures without decoding them, but for the first; None where this is no motion JPEG."""
    size = file.stat().st_size
    # The FFmpeg backend by name: OpenCV's own AVI parser prints its complaints.
    capture = cv2.VideoCapture(str(file), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    try:
        first, shape = _next_coded(capture), _declared_shape(capture)
        # A frame in two interlaced pictures, for instance, is the video decoder's business.
        if first is None or _shape(first) != shape:
            return None
        half = _is_ample(*shape, side)
        height, width = ((length + half) // (1 + half) for length in shape)
        coded, times = [first], [_time(capture)]
        while (data := _next_coded(capture)) is not None:
            coded.append(data)
            times.append(_time(capture))
            check_pixels(len(coded), height, width, size=size)
        return Coded(coded, times, shape, float(capture.get(cv2.CAP_PROP_FPS)))
    finally:
        capture.release()


def some_colours(
    coded: Sequence[NDArray[np.uint8]], shape: tuple[int, int]
) -> Iterator[NDArray[np.uint8]]:
    """The pictures that are looked at for colour flow, RGB; half as large where they are large."""
    half = max(shape) >= 2 * SIDE
    flags = cv2.IMREAD_REDUCED_COLOR_2 if half else cv2.IMREAD_COLOR
    with silenced():
        for place in spread(len(coded)):
            picture = cv2.imdecode(coded[place], flags | cv2.IMREAD_IGNORE_ORIENTATION)
            if picture is not None:
                yield np.ascontiguousarray(picture[..., ::-1])


def _is_ample(height: int, width: int, side: int | None) -> bool:
    return side is not None and min(height, width) >= AMPLE * side


def _time(capture: cv2.VideoCapture) -> float:
    """Presentation time of the picture just read, in seconds."""
    return float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000


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
    with silenced():
        picture = cv2.imdecode(coded, _GREY)
    return None if picture is None else picture.shape
