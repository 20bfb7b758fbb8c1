"""Videos and packed NIfTI files, repeatable byte for byte."""

import gzip
from pathlib import Path

import cv2
import nibabel
import numpy as np
from numpy.typing import NDArray

#: Bytes that begin like a video and are none.
NO_VIDEO = b"RIFF....AVI not a video at all"


def cut_short(path: Path, size: int) -> None:
    """Keep the first ``size`` bytes of a file; below zero, all but so many."""
    path.write_bytes(path.read_bytes()[:size])


def write_avi(path: Path, frames: NDArray[np.uint8], fps: float, *, quality: int = 95) -> None:
    """Write grey frames (N, H, W) as MJPG AVI, its pictures in a JPEG quality of 1 to 100."""
    size = (frames.shape[2], frames.shape[1])
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, size)
    video.set(cv2.VIDEOWRITER_PROP_QUALITY, quality)
    for frame in frames:
        video.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    video.release()


def write_nifti(path: Path, frames: NDArray[np.uint8], affine: NDArray[np.float64]) -> None:
    """Write frames (N, H, W) as (W, H, N), to a name that ends in ``.nii.gz``."""
    # The view has the order in which NIfTI stores; a copy would only be turned back.
    image = nibabel.Nifti1Image(  # type: ignore[no-untyped-call]
        frames.transpose(2, 1, 0), affine
    )
    # As nibabel.save packs it, nameless and timeless, but at once: that hands over row by row.
    with path.open("wb") as file, gzip.GzipFile("", "wb", 1, file, mtime=0) as packed:
        packed.write(image.to_bytes())
