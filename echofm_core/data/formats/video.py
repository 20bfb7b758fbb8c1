"""Video files to grey frames: motion JPEG by its pictures, everything else by OpenCV's FFmpeg.

Whole clips not by decord, which takes twice as long; it serves to check a few frames
(``video_probe.py``). What FFmpeg may open is in ``echofm_core/__init__.py``.
"""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from echofm_core.data.cine import TRUNCATED, Cine, timing_of
from echofm_core.data.colour import spread
from echofm_core.data.findings import Note, Severity
from echofm_core.data.formats.capture import CODED, ONE_THREAD, grey_frames, opened, time_of
from echofm_core.data.formats.motion_jpeg import read_luminance
from echofm_core.runtime.errors import UnreadableFileError, refusing
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
    with refusing("a video cannot be decoded"):
        cine = read_luminance(file, side) or _read(file)
        with opened(file, CODED) as capture:
            declared = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
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
    checked = set(spread(max(1, len(packet_times(file)))))
    with opened(file, ONE_THREAD) as capture:
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        frames, times = grey_frames(capture, file.stat().st_size, checked)
    rate, uneven = timing_of(times, fps)
    return Cine(frames, rate, times=uneven)


def packet_times(file: Path) -> NDArray[np.float64]:
    """Presentation times ``(N,)`` of all frames in seconds, in order; nothing is decoded."""
    times = []
    with opened(file, CODED) as capture:
        while capture.grab():
            times.append(time_of(capture))
    return np.sort(np.array(times))
