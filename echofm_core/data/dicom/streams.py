"""MPEG-2, MPEG-4 and HEVC inside DICOM, in any container, by OpenCV's FFmpeg.

Not by decord: of MPEG transport streams, which DICOM allows for all of them, it decodes none, or
grey frames without a picture, and damage to a stream in memory ends the process.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from numpy.typing import NDArray

from echofm_core.data.limits import check_pixels
from echofm_core.data.silence import silenced
from echofm_core.runtime.errors import UnreadableFileError

#: Frames that are looked at, as none can be chosen without decoding those before: one of so many,
#: of the first so many. That is a beat.
EVERY, LOOK = 4, 48
NO_FRAME = "a DICOM file holds a video without one whole frame."


def read_stream(stream: bytes) -> tuple[NDArray[np.uint8], float | None]:
    """Frames ``(N, H, W)`` uint8 as far as they decode, and frames a second, None where unknown.

    Raises:
        UnreadableFileError: Not one frame decodes, or they are too many for the memory.
    """
    frames: list[NDArray[np.uint8]] = []
    with silenced(), _opened(stream) as capture:
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        for picture in _pictures(capture):
            frames.append(np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8))
            check_pixels(len(frames), *frames[0].shape, size=len(stream))
    if not frames:
        raise UnreadableFileError(NO_FRAME)
    return np.stack(frames), fps if 0 < fps < np.inf else None


def some_colours(stream: bytes) -> Iterator[NDArray[np.uint8]]:
    """The frames ``(H, W, 3)`` RGB uint8 that are looked at for colour flow.

    Raises:
        UnreadableFileError: Not one frame decodes.
    """
    place = -1
    with silenced(), _opened(stream) as capture:
        for place, picture in enumerate(islice(_pictures(capture), LOOK)):
            if place % EVERY == 0:
                yield np.ascontiguousarray(picture[..., ::-1])
    if place < 0:
        raise UnreadableFileError(NO_FRAME)


def _pictures(capture: cv2.VideoCapture) -> Iterator[NDArray[np.uint8]]:
    """Each frame ``(H, W, 3)`` BGR."""
    while (step := capture.read())[0]:
        yield np.asarray(step[1], np.uint8)


@contextmanager
def _opened(stream: bytes) -> Iterator[cv2.VideoCapture]:
    with _as_file(stream) as path:
        capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG)
        try:
            yield capture
        finally:
            capture.release()


@contextmanager
def _as_file(stream: bytes) -> Iterator[str]:
    """Path of a file for as long as it is needed; in memory alone where the system has such."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("video"), "wb") as opened:
            opened.write(stream)
            opened.flush()
            yield f"/proc/self/fd/{opened.fileno()}"
    else:
        with TemporaryDirectory() as folder:
            file = Path(folder) / "video"
            file.write_bytes(stream)
            yield str(file)
