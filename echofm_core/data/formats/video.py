"""Video files to grey frames: motion JPEG by its pictures, everything else by OpenCV's FFmpeg.

Whole clips not by decord, which takes twice as long; it serves a look at a few frames
(``video_probe.py``). What FFmpeg may open is in ``echofm_core/__init__.py``.
"""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from echofm_core.data.cine import TRUNCATED, Cine, pace
from echofm_core.data.colour import ColourFlowError, is_coloured, spread
from echofm_core.data.findings import Note, Severity
from echofm_core.data.formats.motion_jpeg import read_luminance
from echofm_core.data.limits import check_pixels
from echofm_core.runtime.errors import UnreadableFileError
from echofm_core.runtime.text import many


def read_grey(file: Path, side: int | None = None) -> Cine:
    """Decode every frame that is really there, whatever the header says.

    Args:
        file: An AVI or MP4 file.
        side: Side of the square, in pixels, that the frames will be fitted to: large motion JPEG
            then comes at half its size. None: at its own.

    Raises:
        UnreadableFileError: Missing, empty, junk, without one whole frame, too long for memory, or
            its kind is ``colour_doppler``.
    """
    try:
        cine = read_luminance(file, side) or _read(file)
        declared = _declared(file)
    except (OSError, RuntimeError, ValueError, cv2.error) as error:
        raise UnreadableFileError(f"a video cannot be decoded ({type(error).__name__}).") from None
    if not len(cine.frames):
        raise UnreadableFileError(without_frames(file))
    return cine._replace(notes=cine.notes + _missing(cine, declared))


def without_frames(file: Path) -> str:
    """Why no frame came: an empty file, no video at all, or a damaged one."""
    with file.open("rb") as stream:
        start = stream.read(12)
    if not start:
        return "a video file is empty."
    if start[:4] != b"RIFF" and start[4:8] != b"ftyp":
        return "a file named as a video is neither AVI nor MP4."
    return "a video holds no whole frame."


def _declared(file: Path) -> int:
    """Frames that the container says it has."""
    capture = cv2.VideoCapture(str(file), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    try:
        return int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    finally:
        capture.release()


def _missing(cine: Cine, declared: int) -> tuple[Note, ...]:
    """What to note where a container has fewer frames than it says: it was cut in transfer.

    Not where frames were left out on purpose: those after them then come so much later.
    """
    there = len(cine.frames)
    if cine.times is not None and cine.fps is not None:
        there = max(there, round(float(cine.times[-1]) / float(np.diff(cine.times).min())) + 1)
    if declared <= there:
        return ()
    reason = f"The file holds {many(len(cine.frames), 'frame')}, its own header says {declared}."
    return (Note(TRUNCATED, reason, Severity.REPAIRED),)


def _read(file: Path) -> Cine:
    """Frames up to the first that does not decode: those before a cut are sound."""
    size, frames, times = file.stat().st_size, list[NDArray[np.uint8]](), list[float]()
    chosen = set(spread(max(1, len(packet_times(file)))))
    capture = opened(file)
    try:
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        while (step := capture.read())[0]:
            picture = np.asarray(step[1], np.uint8)
            if len(frames) in chosen and is_coloured(picture[..., ::-1]):
                raise ColourFlowError
            frames.append(np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8))
            times.append(float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000)
            check_pixels(len(frames), *frames[0].shape, size=size)
    finally:
        capture.release()
    whole = np.stack(frames) if frames else np.empty((0, 0, 0), np.uint8)
    rate, uneven = pace(np.array(times), fps)
    return Cine(whole, rate, times=uneven)


def opened(file: Path) -> cv2.VideoCapture:
    """A decoder of a video, by FFmpeg: OpenCV's own AVI parser prints its complaints."""
    return cv2.VideoCapture(str(file), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])


def packet_times(file: Path) -> NDArray[np.float64]:
    """Presentation times ``(N,)`` of all frames in seconds, in order; nothing is decoded."""
    capture = cv2.VideoCapture(str(file), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    times = []
    try:
        while capture.grab():
            times.append(float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000)
    finally:
        capture.release()
    return np.sort(np.array(times))
