"""A cine through pydicom: RGB by its fastest decoder of JPEG, then grey."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.pixels.utils import pixel_array

#: Of pydicom's decoders the fastest one here; the default order depends on what is installed.
PLUGIN = "pillow"


def read_cine(file: Path) -> NDArray[np.uint8]:
    """Frames ``(N, H, W)`` uint8."""
    colour = pixel_array(file, decoding_plugin=PLUGIN)
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in colour])
