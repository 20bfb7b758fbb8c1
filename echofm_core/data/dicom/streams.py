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

from echofm_core.data.formats.capture import grey_frames, opened, pictures_of
from echofm_core.data.opening import silenced
from echofm_core.runtime.errors import UnreadableFileError

#: Frames that are checked for colour flow, as none can be chosen without decoding those before:
#: one of so many, of the first so many. That is a beat.
EVERY, BEAT = 4, 48
NO_FRAME = "a DICOM file holds a video without one whole frame."


def read_stream(stream: bytes) -> tuple[NDArray[np.uint8], float | None]:
    """Frames ``(N, H, W)`` uint8 as far as they decode, and frames a second, None where unknown.

    Raises:
        UnreadableFileError: Not one frame decodes, or they are too many for the memory.
    """
    with silenced(), _as_file(stream) as path, opened(path) as capture:
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        frames, _ = grey_frames(capture, len(stream))
    if not len(frames):
        raise UnreadableFileError(NO_FRAME)
    return frames, fps if 0 < fps < np.inf else None


def some_colours(stream: bytes) -> Iterator[NDArray[np.uint8]]:
    """The frames ``(H, W, 3)`` RGB uint8 that are checked for colour flow.

    Raises:
        UnreadableFileError: Not one frame decodes.
    """
    number = -1
    with silenced(), _as_file(stream) as path, opened(path) as capture:
        for number, (picture, _) in enumerate(islice(pictures_of(capture), BEAT)):
            if number % EVERY == 0:
                yield np.ascontiguousarray(picture[..., ::-1])
    if number < 0:
        raise UnreadableFileError(NO_FRAME)


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
