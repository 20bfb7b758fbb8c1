"""Motion JPEG, as most echo videos are: the luminance of each picture, not by way of colour.

Every frame is a JPEG picture of its own, whose luminance libjpeg hands over as it is. A video
decoder makes colours of it first: that is three times the work, and grey made of those colours is
half a level too dark, because each of them was rounded down.
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from echofm_core.data.cine import Cine, assemble, timing_of
from echofm_core.data.colour import ColourFlowError, is_coloured, jpeg_to_grey, jpeg_to_rgb, spread
from echofm_core.data.formats.capture import CODED, opened, pictures_of
from echofm_core.data.limits import check_pixels
from echofm_core.data.opening import silenced

#: Pictures with sides of this many times the wanted one are decoded at half size: the cosine
#: transform gives that for half of the work.
AMPLE = 4
#: What every JPEG picture begins with.
START = b"\xff\xd8\xff"


class Coded(NamedTuple):
    """Pictures as stored, times in seconds, height and width, stated rate, decode at half size?"""

    pictures: list[NDArray[np.uint8]]
    times: list[float]
    shape: tuple[int, int]
    fps: float
    half: bool

    def some_colours(self) -> Iterator[NDArray[np.uint8]]:
        """The pictures that are checked for colour flow, ``(H, W, 3)`` RGB uint8, maybe halved."""
        with silenced():
            for number in spread(len(self.pictures)):
                picture = jpeg_to_rgb(self.pictures[number], *self.shape)
                if picture is not None:
                    yield picture


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
    coded = coded_pictures(file, side)
    if coded is None:
        return None
    if any(map(is_coloured, coded.some_colours())):
        raise ColourFlowError
    with silenced():
        pictures = (jpeg_to_grey(data, coded.half) for data in coded.pictures)
        frames, which, notes = assemble(pictures, len(coded.pictures))
    rate, uneven = timing_of(np.array(coded.times[which]), coded.fps)
    return Cine(frames, rate, times=uneven, notes=notes)


def coded_pictures(file: Path, side: int | None = None) -> Coded | None:
    """The pictures without decoding them, but for the first; None where this is no motion JPEG."""
    coded, times, size = list[NDArray[np.uint8]](), list[float](), file.stat().st_size
    with opened(file, CODED) as capture:
        packets = pictures_of(capture)
        first = next(packets, None)
        height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        # A frame in two interlaced pictures, for instance, is the video decoder's business.
        if first is None or not _is_jpeg(first[0].reshape(-1), height, width):
            return None
        half = side is not None and min(height, width) >= AMPLE * side
        decoded = [(length + half) // (1 + half) for length in (height, width)]
        for data, time in chain([first], packets):
            coded.append(data.reshape(-1))
            times.append(time)
            check_pixels(len(coded), *decoded, size=size)
        return Coded(coded, times, (height, width), float(capture.get(cv2.CAP_PROP_FPS)), half)


def _is_jpeg(data: NDArray[np.uint8], height: int, width: int) -> bool:
    """Is it a whole JPEG picture of this size?"""
    if data[: len(START)].tobytes() != START:
        return False
    with silenced():
        picture = jpeg_to_grey(data)
    return picture is not None and picture.shape == (height, width)
