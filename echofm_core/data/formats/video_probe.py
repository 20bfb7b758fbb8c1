"""Facts of a video: frames, size, rate, and whether there is colour flow; never all is decoded.

Motion JPEG by some of its pictures. Of other codings, whose frames build on each other, large files
by decord: it goes to frames all over a video in less time than OpenCV takes, and in more where
files are small or motion JPEG (``python -m benchmarks.data``). Some damaged files make decord end
its process, so that it is used in processes that may die, and OpenCV everywhere else and where
decord is missing or fails. All of them see the same.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from echofm_core.data.cine import timing_of
from echofm_core.data.colour import ColourFlowError, is_coloured, spread
from echofm_core.data.formats.capture import ONE_THREAD, opened
from echofm_core.data.formats.motion_jpeg import coded_pictures
from echofm_core.data.formats.video import packet_times, without_frames
from echofm_core.data.limits import check_pixels
from echofm_core.data.opening import silenced
from echofm_core.runtime.errors import UnreadableFileError, refusing
from echofm_core.runtime.pool_worker import will_be_retried

#: Bytes from which on a file is large: below, all of it is decoded before decord has begun.
LARGE = 2**20


class Probe(NamedTuple):
    """What is known of a video.

    Attributes:
        decoder: Its name.
        frames: How many are there, whatever the header says.
        height, width: In pixels.
        fps: Frames a second, the mean where times are uneven; None where nothing says.
        coloured: Some frame shows colour flow.
    """

    decoder: str
    frames: int
    height: int
    width: int
    fps: float | None
    coloured: bool


def probe_video(file: Path) -> Probe:
    """Probe an AVI or MP4 file.

    Raises:
        UnreadableFileError: Not one frame can be read, or there is colour flow; it names the
            decoder.
    """
    for probe in (by_pictures, by_decord, by_opencv):
        try:
            if probe is by_decord and not (will_be_retried() and file.stat().st_size >= LARGE):
                continue
            with silenced():
                found = probe(file)
        except Exception:  # decoders raise their own kinds
            continue
        if found.coloured:
            raise ColourFlowError(
                f"The cine shows colour flow over the grey image (decoder: {found.decoder})."
            )
        return found
    with refusing("a video cannot be opened"):
        reason = without_frames(file)
    raise UnreadableFileError(f"{reason.rstrip('.')} (decoder: OpenCV).")


def by_decord(file: Path) -> Probe:
    """By decord, in a process that may die; raises any exception where it cannot."""
    import decord  # it starts threads

    decord.logging.set_level(decord.logging.QUIET)
    reader = decord.VideoReader(str(file), ctx=decord.cpu(0), num_threads=1)
    count = len(reader)
    times = np.asarray(reader.get_frame_timestamp(range(count)), np.float64)[:, 0]
    pictures = reader.get_batch(spread(count)).asnumpy()
    return _probe("decord", pictures, np.sort(times), float(reader.get_avg_fps()), file)


def by_pictures(file: Path) -> Probe:
    """By libjpeg, of motion JPEG alone; raises any exception where it cannot."""
    coded = coded_pictures(file)
    if coded is None:
        raise ValueError("no motion JPEG")
    times = np.array(coded.times)
    return _probe("libjpeg", coded.some_colours(), times, coded.fps, file, coded.shape)


def by_opencv(file: Path) -> Probe:
    """By OpenCV, of any coding; raises any exception where it cannot."""
    times = packet_times(file)
    with opened(file, ONE_THREAD) as capture:
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        return _probe("OpenCV", _chosen(capture, len(times)), times, fps, file)


def _probe(
    decoder: str,
    pictures: Iterable[NDArray[np.uint8]],
    times: NDArray[np.float64],
    fps: float,
    file: Path,
    shape: tuple[int, int] | None = None,
) -> Probe:
    """What the chosen pictures, ``(H, W, 3)`` RGB, and the times of all tell."""
    coloured = False
    for picture in pictures:
        shape = shape or (picture.shape[0], picture.shape[1])
        if coloured := is_coloured(picture):
            break
    if shape is None:
        raise ValueError("no whole frame")
    check_pixels(len(times), *shape, size=file.stat().st_size)
    return Probe(decoder, len(times), *shape, timing_of(times, fps)[0], coloured)


def _chosen(capture: cv2.VideoCapture, count: int) -> Iterator[NDArray[np.uint8]]:
    """Some frames in RGB; those between them are decoded, but not turned to colours."""
    wanted = set(spread(count))
    for number in range(count):
        if not capture.grab():
            return
        if number in wanted:
            there, picture = capture.retrieve()
            if there:
                yield np.ascontiguousarray(np.asarray(picture, np.uint8)[..., ::-1])
