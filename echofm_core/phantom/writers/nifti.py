"""Packed NIfTI, repeatable byte for byte."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray


def write_nifti(path: Path, frames: NDArray[np.uint8], affine: NDArray[np.float64]) -> None:
    """Write frames (N, H, W) as (W, H, N), to a name that ends in ``.nii.gz``."""
    # The view has the order in which NIfTI stores; a copy would only be turned back.
    image = nibabel.Nifti1Image(  # type: ignore[no-untyped-call]
        frames.transpose(2, 1, 0), affine
    )
    # As nibabel.save packs it, nameless and timeless, but at once: that hands over row by row.
    with path.open("wb") as file, gzip.GzipFile("", "wb", 1, file, mtime=0) as packed:
        packed.write(image.to_bytes())
