"""What every container of a cine decodes to, before the sector is cut out."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from echofm_core.data.dicom.sector import Box
from echofm_core.data.findings import Note, Severity
from echofm_core.data.limits import PixelSize, believable_rate

Frames = NDArray[np.uint8]
#: Kind of the finding on a clip of fewer frames than its source says.
TRUNCATED = "truncated_clip"
#: Frames that may be damaged within a cine, as a share of all; with more, it ends at the first.
MOST_DAMAGED = 0.25
#: Times are even whose steps differ from the usual one by less than this share of it, and this
#: many seconds: containers count in milliseconds, or in less.
UNEVEN, ROUNDING = 0.1, 0.002


class Cine(NamedTuple):
    """A decoded cine.

    Attributes:
        frames: ``(N, H, W)`` uint8, as many as are really there.
        fps: Frames a second, the mean where times are uneven; None where nothing says.
        region: The declared image region, clipped to the frame; None where there is none.
        times: ``(N,)`` float64, seconds from the first frame; None where they are even or unknown.
        notes: What was mended, or is missing.
        pixel: Size of a pixel; None where nothing believable says.
    """

    frames: Frames
    fps: float | None
    region: Box | None = None
    times: NDArray[np.float64] | None = None
    notes: tuple[Note, ...] = ()
    pixel: PixelSize | None = None


def text_of(times: NDArray[np.float64] | None) -> str | None:
    """Times as one text, in milliseconds."""
    return None if times is None else " ".join(f"{1000 * time:.2f}" for time in times)


def times_of(text: str) -> NDArray[np.float64]:
    """What :func:`text_of` wrote, in seconds."""
    return np.array(text.split(), np.float64) / 1000


def assemble(
    pictures: Iterable[Frames | None], most: int
) -> tuple[Frames, slice, tuple[Note, ...]]:
    """Frames as they decode: a damaged one in the middle is the one before it once more.

    So the later ones keep their time. Damaged ones at either end are left out.

    Args:
        pictures: Each ``(H, W)``; None where it is damaged, and so is one of another size.
        most: How many they are at most.

    Returns:
        Frames, which of the pictures they are, and what was mended.

    Raises:
        ValueError: Not one is whole.
    """
    frames: Frames | None = None
    damaged: list[int] = []
    first = length = 0
    for number, picture in enumerate(pictures):
        if frames is None:
            if picture is None:
                continue
            frames, first = np.empty((most, *picture.shape), np.uint8), number
        index = number - first
        if picture is None or picture.shape != frames.shape[1:]:
            frames[index] = frames[index - 1]
            damaged.append(index)
        else:
            frames[index] = picture
            length = index + 1
    if frames is None:
        raise ValueError("not one whole frame")
    damaged = [index for index in damaged if index < length]
    if len(damaged) > MOST_DAMAGED * length:
        length, damaged = damaged[0], []
    return frames[:length], slice(first, first + length), _mended(damaged, length)


def _mended(damaged: list[int], length: int) -> tuple[Note, ...]:
    if not damaged:
        return ()
    which = ", ".join(str(index + 1) for index in damaged[:5]) + ", ..." * (len(damaged) > 5)
    reason = (
        f"{len(damaged)} of {length} frames are damaged (number {which}); the one before is shown "
        "in their place, so that the others keep their time."
    )
    return (Note("damaged_frames", reason, Severity.REPAIRED),)


def timing_of(
    times: NDArray[np.float64], fps: float | None
) -> tuple[float | None, NDArray[np.float64] | None]:
    """Frames a second, and the times where they are uneven.

    Args:
        times: Presentation times of the frames in seconds; believed where they rise.
        fps: What the container states.
    """
    steps = np.diff(times)
    stated = believable_rate(fps)
    if len(steps) < 2 or not np.isfinite(times).all() or steps.min() <= 0:
        return stated, None
    usual = float(np.median(steps))
    if np.abs(steps - usual).max() <= max(UNEVEN * usual, ROUNDING):
        return stated, None
    mean = believable_rate(1 / float(steps.mean()))
    return (stated, None) if mean is None else (mean, times - times[0])
