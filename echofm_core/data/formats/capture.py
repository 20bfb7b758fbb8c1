"""Videos through OpenCV's FFmpeg, by name: OpenCV's own AVI parser prints its complaints."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from echofm_core.data.colour import ColourFlowError, is_coloured
from echofm_core.data.limits import check_pixels

#: Options of :func:`opened`: one thread decodes; pictures come as they are stored.
ONE_THREAD, CODED = (cv2.CAP_PROP_N_THREADS, 1), (cv2.CAP_PROP_FORMAT, -1)


@contextmanager
def opened(video: Path | str, options: tuple[int, ...] = ()) -> Iterator[cv2.VideoCapture]:
    """A video, for as long as it is read; of one that cannot be opened, nothing is read."""
    capture = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG, options)
    try:
        yield capture
    finally:
        capture.release()


def time_of(capture: cv2.VideoCapture) -> float:
    """Presentation time of the picture just read, in seconds."""
    return float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000


def pictures_of(capture: cv2.VideoCapture) -> Iterator[tuple[NDArray[np.uint8], float]]:
    """Each picture ``(H, W, 3)`` BGR, or its bytes as stored, and its time in seconds.

    Up to the first that does not decode: those before a cut are sound.
    """
    while (step := capture.read())[0]:
        yield np.asarray(step[1], np.uint8), time_of(capture)


def grey_frames(
    capture: cv2.VideoCapture, size: int, checked: Collection[int] = ()
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Frames ``(N, H, W)`` uint8 and their times ``(N,)`` in seconds, as far as they decode.

    Args:
        capture: Of pictures that are decoded.
        size: Of the file, in bytes.
        checked: Numbers of the frames that are checked for colour flow.

    Raises:
        UnreadableFileError: The clip is too long for the memory, or shows colour flow.
    """
    frames, times = list[NDArray[np.uint8]](), list[float]()
    for picture, time in pictures_of(capture):
        if len(frames) in checked and is_coloured(picture[..., ::-1]):
            raise ColourFlowError
        frames.append(np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8))
        times.append(time)
        check_pixels(len(frames), *frames[0].shape, size=size)
    return np.stack(frames) if frames else np.empty((0, 0, 0), np.uint8), np.array(times)
