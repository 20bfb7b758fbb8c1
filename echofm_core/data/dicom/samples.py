"""Samples whose bytes do not say their own shape: not compressed, or in run lengths.

Of pixels that are not compressed there are as many frames as the bytes that are there hold. RLE
lossless (PS3.5 annex G) has byte planes, each packed in runs.
"""

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian

from echofm_core.data.dicom.part10 import Object
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


def read_native(opened: Object) -> Samples:
    """Samples ``(N, H, W)`` or ``(N, H, W, 3)`` uint8 or uint16; no more than the file's bytes.

    Of halved chroma (YBR_FULL_422), the luminance alone: ``(N, H, W)``.

    Raises:
        ValueError: There is not one whole frame.
    """
    form = form_of(opened.dataset)
    if form.samples == 1:
        return _frames(_samples(opened, form), (form.height, form.width))
    height, width = form.height, form.width
    values = _samples(opened, form)
    if _is_halved(opened, form, values.size):  # Y Y Cb Cr for two pixels
        return _frames(values, (height, width // 2, 4))[..., :2].reshape(-1, height, width)
    if opened.dataset.get("PlanarConfiguration") == 1:
        return np.moveaxis(_frames(values, (3, height, width)), 1, -1)
    return _frames(values, (height, width, 3))


def _samples(opened: Object, form: Form) -> Samples:
    """All samples in one row."""
    order = ">" if opened.syntax == ExplicitVRBigEndian else "<"
    size = len(opened.pixels) - len(opened.pixels) % 2
    if form.bytes_each == 2:
        words = np.frombuffer(opened.pixels[:size], f"{order}u2")
        return words.astype(np.uint16, copy=False)
    values = np.frombuffer(opened.pixels, np.uint8)
    if order == ">" and opened.vr == "OW":  # bytes were swapped as if they were words
        return values[:size].reshape(-1, 2)[:, ::-1].reshape(-1)
    return values


def _frames(values: NDArray[np.uint8] | NDArray[np.uint16], shape: tuple[int, ...]) -> Samples:
    """Whole frames of a shape; what is left over is padding."""
    size = int(np.prod(shape))
    count = len(values) // size
    if not count:
        raise ValueError("not one whole frame")
    return values[: count * size].reshape(count, *shape)


def _is_halved(opened: Object, form: Form, size: int) -> bool:
    """Is chroma halved? Where there are enough samples for every frame in full, it is not."""
    if opened.dataset.get("PhotometricInterpretation") not in ("YBR_FULL_422", "YBR_PARTIAL_422"):
        return False
    declared = max(1, int(opened.dataset.get("NumberOfFrames") or 1))
    return size < declared * form.height * form.width * 3


def decode_run_length(image: bytes, form: Form) -> Samples:
    """One frame ``(H, W)`` or ``(H, W, 3)`` uint8 or uint16 from its fragment.

    Raises:
        ValueError, struct.error: Planes are missing or short.
    """
    height, width, samples, bytes_each = form
    count, *offsets = struct.unpack_from("<16I", image)
    if count != samples * bytes_each:
        raise ValueError(f"{count} planes, not {samples * bytes_each}")
    bounds = [*offsets[:count], len(image)]
    size = height * width
    planes = np.empty((samples, bytes_each, size), np.uint8)
    for number in range(count):
        plane = _unpack(image[bounds[number] : bounds[number + 1]], size)
        if len(plane) < size:
            raise ValueError("a plane is cut short")
        # The most significant byte comes first in the file, the least in memory.
        planes[number // bytes_each, bytes_each - 1 - number % bytes_each] = np.frombuffer(
            plane, np.uint8, size
        )
    pixels = np.ascontiguousarray(planes.transpose(2, 0, 1))
    values: Samples = pixels.view(np.uint16) if bytes_each == 2 else pixels
    return values.reshape((height, width, samples) if samples > 1 else (height, width))


def _unpack(packed: bytes, size: int) -> bytearray:
    """Runs of PackBits, until ``size`` bytes are there; the last run may pass it."""
    plain, place, end = bytearray(), 0, len(packed)
    while place < end and len(plain) < size:
        head = packed[place]
        if head < 128:  # head + 1 bytes as they are
            plain += packed[place + 1 : place + head + 2]
            place += head + 2
        elif head > 128:  # one byte, 257 - head times
            plain += packed[place + 1 : place + 2] * (257 - head)
            place += 2
        else:  # nothing, by the standard
            place += 1
    return plain
