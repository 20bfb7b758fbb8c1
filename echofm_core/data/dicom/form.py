"""Shape of a frame as the header has it: for codings whose bytes do not say it themselves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from echofm_core.runtime.errors import UnreadableFileError

Samples = NDArray[np.uint8] | NDArray[np.uint16]


class Form(NamedTuple):
    """Height and width in pixels, samples of a pixel (1 or 3), bytes of a sample (1 or 2)."""

    height: int
    width: int
    samples: int
    bytes_each: int


def form_of(dataset: Dataset) -> Form:
    """Read the elements.

    Raises:
        UnreadableFileError: They are missing, or describe no picture.
    """
    try:
        height, width = int(dataset.Rows), int(dataset.Columns)
        samples, bits = int(dataset.get("SamplesPerPixel") or 1), int(dataset.BitsAllocated)
    except (ValueError, TypeError, AttributeError):
        height = width = samples = bits = 0
    if height < 1 or width < 1 or samples not in (1, 3) or bits not in (8, 16):
        raise UnreadableFileError(
            f"a DICOM file declares pixels of {width} x {height}, {samples} samples and {bits} "
            "bits; expected are 8 or 16 bits and one or three samples."
        )
    return Form(height, width, samples, bits // 8)
