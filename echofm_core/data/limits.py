"""What is believed of a file's header, checked before memory is asked for.

A header of a few bytes may declare terabytes, and a few kilobytes may unpack to gigabytes. What is
refused here is far from any recording: moving speckle takes a byte for 10 to 100 pixels.
"""

import math
from typing import NamedTuple

from echofm_core.runtime.errors import UnreadableFileError

#: Pixels of one picture: twice those of the largest screens.
LARGEST_FRAME = 2**24
#: Pixels of a clip, all frames together: what decoding it may take of the memory.
LARGEST_CLIP = 2**30
#: Pixels that a byte of a file may become, ...
PER_BYTE = 1024
#: ... unless the clip has fewer pixels than this, however small its file.
HARMLESS = 2**27
#: Frames a second between which a recording is believed.
SLOWEST, FASTEST = 1.0, 1000.0


def check_pixels(frames: int, height: int, width: int, *, size: int) -> None:
    """Refuse a clip of more pixels than a picture, the memory or the file itself can hold.

    Args:
        frames, height, width: As declared, or as decoded so far.
        size: Of the file, in bytes.

    Raises:
        UnreadableFileError: A count below 1, or too many pixels.
    """
    if min(frames, height, width) < 1:
        raise UnreadableFileError("a file declares a clip without frames or pixels.")
    if height * width > LARGEST_FRAME:
        raise UnreadableFileError(
            f"a file declares pictures of {height} x {width} pixels, larger than any recording's."
        )
    most = min(LARGEST_CLIP, max(HARMLESS, PER_BYTE * size)) // (height * width)
    if frames > most:
        raise UnreadableFileError(
            f"a clip of {height} x {width} pixels has {frames} frames or more, and at most {most} "
            f"can be decoded of a file of {size} bytes; cut it into shorter clips."
        )


def believable_rate(fps: float | None) -> float | None:
    """Frames a second where a scanner can have recorded so, else None."""
    return fps if fps is not None and SLOWEST <= fps <= FASTEST else None


#: Centimetres that a picture of a heart shows from top to bottom, and across, are between these.
SHORTEST, LONGEST = 5.0, 60.0


class PixelSize(NamedTuple):
    """Width and height of a pixel, in cm."""

    across: float
    down: float


def believable_size(across: float, down: float, height: int, width: int) -> PixelSize | None:
    """The size of a pixel, or None where the picture could show no heart with it.

    Args:
        across, down: As a header has them, in cm; their sign is a direction.
        height, width: Of the picture, in pixels.
    """
    size = PixelSize(abs(across), abs(down))
    sides = (size.across * width, size.down * height)
    believed = all(math.isfinite(side) and SHORTEST <= side <= LONGEST for side in sides)
    return size if believed else None
