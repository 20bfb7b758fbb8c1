"""How large a pixel is, where a source says so."""

from __future__ import annotations

import math
from typing import NamedTuple

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
