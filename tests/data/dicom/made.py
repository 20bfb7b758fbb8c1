"""DICOM cines in every coding, made here: one image a frame, encoded by somebody else's encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import data_store
import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from tests.data.files import header, with_pixels

Frame = NDArray[Any]
SAMPLES = [Path(data_store.__file__).parent / "data", Path(pydicom.__file__).parent / "data"]


def sample(name: str) -> Path:
    """A file of the packages pydicom and pydicom-data, found without a download."""
    return next(found for folder in SAMPLES for found in folder.rglob(name))


def cine(count: int = 5, height: int = 40, width: int = 48, white: int = 255) -> Frame:
    """Smooth frames ``(N, H, W)`` that differ, from black to ``white``."""
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / 9 + number) * np.cos(y / 11) for number in range(count)])
    kind = np.uint8 if white < 256 else np.uint16
    return np.rint((waves - waves.min()) / np.ptp(waves) * white).astype(kind)


def write_encapsulated(
    path: Path,
    images: Sequence[bytes],
    syntax: str,
    frames: Frame,
    photometric: str = "MONOCHROME2",
    *,
    pixels: bytes | None = None,
    **values: object,
) -> Path:
    """A file of encoded images.

    Args:
        path: To write.
        images: One a frame.
        syntax: Transfer syntax.
        frames: What was encoded, for the image module.
        photometric: Interpretation.
        pixels: The pixel element, where that is not the plain encapsulation of ``images``.
        values: Other elements, by keyword.
    """
    dataset = with_pixels(header(), photometric, frames)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.PixelData = encapsulate(list(images)) if pixels is None else pixels
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    # How it is written is said, because some of the syntaxes are unknown to pydicom.
    dcmwrite(path, dataset, implicit_vr=False, little_endian=True, enforce_file_format=True)
    return path


def jpeg(frame: Frame) -> bytes:
    """By OpenCV."""
    return cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def jpeg_2000(frame: Frame, *, lossy: bool = False) -> bytes:
    """A bare codestream by Pillow, as DICOM wants it."""
    buffer = BytesIO()
    rate = {"quality_mode": "rates", "quality_layers": [4]} if lossy else {}
    Image.fromarray(frame).save(buffer, "JPEG2000", no_jp2=True, irreversible=lossy, **rate)
    return buffer.getvalue()


def run_length(frame: Frame) -> bytes:
    """By pydicom."""
    dataset = with_pixels(Dataset(), "RGB" if frame.ndim == 3 else "MONOCHROME2", frame[None])
    options = {
        "rows": dataset.Rows,
        "columns": dataset.Columns,
        "samples_per_pixel": dataset.SamplesPerPixel,
        "bits_allocated": dataset.BitsAllocated,
        "bits_stored": dataset.BitsStored,
        "pixel_representation": 0,
        "number_of_frames": 1,
        "photometric_interpretation": dataset.PhotometricInterpretation,
        "planar_configuration": 0,
    }
    return bytes(RLELosslessEncoder.encode(frame, index=None, **options))


def _codec(name: str, **options: object) -> Callable[[Frame], bytes]:
    def encode(frame: Frame) -> bytes:
        import imagecodecs

        return bytes(getattr(imagecodecs, name)(frame, **options))

    return encode


#: Syntax -> encoder of a frame in 8 bits, and the largest difference that it may make.
ENCODERS: Mapping[str, tuple[Callable[[Frame], bytes], int]] = {
    JPEGBaseline8Bit: (jpeg, 4),
    JPEGExtended12Bit: (jpeg, 4),
    JPEG2000Lossless: (jpeg_2000, 0),
    JPEG2000: (lambda frame: jpeg_2000(frame, lossy=True), 4),
    HTJ2KLossless: (_codec("htj2k_encode", reversible=True), 0),
    HTJ2KLosslessRPCL: (_codec("htj2k_encode", reversible=True), 0),
    HTJ2K: (_codec("htj2k_encode", reversible=False), 4),
    RLELossless: (run_length, 0),
    JPEGLossless: (_codec("jpeg8_encode", lossless=True, predictor=4), 0),
    JPEGLosslessSV1: (_codec("jpeg8_encode", lossless=True, predictor=1), 0),
    JPEGLSLossless: (_codec("jpegls_encode", level=0), 0),
    JPEGLSNearLossless: (_codec("jpegls_encode", level=2), 2),
}
