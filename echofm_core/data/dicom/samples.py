"""Samples of pictures: what they are where their bytes do not say, and what they mean.

Their bytes do not say their own shape where they are not compressed, or in run lengths.
Of pixels that are not compressed there are as many frames as the bytes that are there hold. RLE
lossless (PS3.5 annex G) has byte planes, each packed in runs.
"""

import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import ExplicitVRBigEndian

from echofm_core.data.dicom.part10 import Object
from echofm_core.runtime.errors import UnreadableFileError

Bytes = NDArray[np.uint8]
Samples = Bytes | NDArray[np.uint16]


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


def read_native(opened: Object, *, with_chroma: bool = False) -> Samples:
    """Samples ``(N, H, W)`` or ``(N, H, W, 3)`` uint8 or uint16; no more than the file's bytes.

    Args:
        opened: The file.
        with_chroma: Halved chroma (YBR_FULL_422) too, of each pixel; else of such a file the
            luminance alone: ``(N, H, W)``.

    Raises:
        ValueError: There is not one whole frame.
    """
    form = form_of(opened.dataset)
    height, width = form.height, form.width
    values = _samples(opened, form)
    if form.samples == 1:
        return _frames(values, (height, width))
    if _is_halved(opened, form, values.size):  # Y Y Cb Cr for two pixels
        pairs = _frames(values, (height, width // 2, 4))
        if not with_chroma:
            return pairs[..., :2].reshape(-1, height, width)
        return pairs[..., [[0, 2, 3], [1, 2, 3]]].reshape(-1, height, width, 3)
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


def _frames(values: Samples, shape: tuple[int, ...]) -> Samples:
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
    size = height * width
    bounds = pairwise([*offsets[:count], len(image)])
    # A plane as one row: it ends when that is full, and one that is cut is a ValueError.
    planes = [
        np.asarray(Image.frombytes("L", (size, 1), image[start:end], "packbits", "L"))[0]
        for start, end in bounds
    ]
    # The most significant byte comes first in the file, the least in memory.
    bytes_last = np.stack(planes, axis=-1).reshape(size, samples, bytes_each)[..., ::-1]
    pixels = np.ascontiguousarray(bytes_last)
    values: Samples = pixels.view(np.uint16) if bytes_each == 2 else pixels
    return values.reshape((height, width, samples) if samples > 1 else (height, width))


@dataclass(frozen=True, slots=True, eq=False)
class Photometric:
    """The elements of a header that say how to show samples.

    Windows and lookup tables of interest (VOI) are not applied: scanners burn their grey map in.

    Attributes:
        photometric: Interpretation, e.g. ``MONOCHROME2``; ``RGB`` where decoding makes it so.
        bits: Stored bits of a 16-bit sample; all are 1 where the sample is white.
        signed: Grey samples are in two's complement; the most negative is black.
        palette: Colour ``(2**bits, 3)`` uint8 of each sample value, or None.
    """

    photometric: str
    bits: int
    signed: bool
    palette: Bytes | None = None

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Read the elements.

        Raises:
            ValueError, TypeError, AttributeError: They make no sense.
        """
        bits = int(dataset.get("BitsStored") or 8)
        if not 1 <= bits <= 16:
            raise ValueError("stored bits are not 1 to 16")
        photometric = str(dataset.get("PhotometricInterpretation") or "").strip().upper()
        # Decoders undo the colour transforms of JPEG 2000.
        photometric = "RGB" if photometric in ("YBR_RCT", "YBR_ICT") else photometric
        palette = _palette(dataset, bits) if photometric == "PALETTE COLOR" else None
        return cls(photometric, bits, dataset.get("PixelRepresentation") == 1, palette)

    def grey(self, values: Samples, bits: int = 16, signed: bool | None = None) -> Bytes:
        """Luminance.

        Args:
            values: ``(N, H, W)`` or ``(N, H, W, 3)``.
            bits: Of the decoded samples, where that may be less than is declared.
            signed: What the image itself says, where it does.

        Returns:
            ``(N, H, W)`` uint8: Y, or the luma of RGB (ITU-R BT.601).
        """
        if values.ndim == 3:
            return _look_up(self._grey_of(values, bits, signed), values)
        if self.photometric.startswith("YBR"):
            return self._levels(values[..., 0], bits)
        count, height, width, _ = values.shape
        pixels = self._levels(values, bits).reshape(count * height, width, 3)
        grey = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)
        return grey.reshape(count, height, width)

    def colour(self, values: Samples, bits: int = 16) -> Bytes | None:
        """One frame ``(H, W, 3)`` or ``(H, W)`` as RGB ``(H, W, 3)`` uint8; None where grey."""
        if values.ndim == 2:
            return None if self.palette is None else self.palette[values & (len(self.palette) - 1)]
        pixels = self._levels(values, bits)
        if not self.photometric.startswith("YBR"):
            return pixels
        swapped = np.ascontiguousarray(pixels[..., [0, 2, 1]])  # OpenCV has Cr before Cb
        return np.asarray(cv2.cvtColor(swapped, cv2.COLOR_YCrCb2RGB), np.uint8)

    def _levels(self, values: Samples, bits: int) -> Bytes:
        return np.ascontiguousarray(_look_up(self._level_of(values, bits, False), values))

    def _grey_of(self, values: Samples, bits: int, signed: bool | None) -> Bytes:
        """Grey of each value that a sample of a picture with one of them can have."""
        if self.palette is not None:
            shades = np.asarray(cv2.cvtColor(self.palette[None], cv2.COLOR_RGB2GRAY)[0], np.uint8)
            return np.asarray(shades[np.arange(256**values.itemsize) & (len(shades) - 1)], np.uint8)
        levels = self._level_of(values, bits, self.signed if signed is None else signed)
        return 255 - levels if self.photometric == "MONOCHROME1" else levels

    def _level_of(self, values: Samples, bits: int, signed: bool) -> Bytes:
        """The same, before it is known what is black; 8-bit samples are taken to use all bits."""
        bits = 8 if values.itemsize == 1 else min(bits, self.bits)
        white = 2**bits - 1
        codes = np.arange(256**values.itemsize) & white
        if signed:
            codes ^= 2 ** (bits - 1)
        return np.asarray(np.rint(codes * (255 / white)), np.uint8)


def _look_up(table: Bytes, values: Samples) -> Bytes:
    if values.itemsize > 1:
        return table[values]
    if np.array_equal(table, np.arange(256)):
        return np.asarray(values, np.uint8)
    return np.asarray(cv2.LUT(values.reshape(len(values), -1), table), np.uint8).reshape(
        values.shape
    )


def _palette(dataset: Dataset, bits: int) -> Bytes:
    """RGB of each sample value, in 8 bits."""
    kind = np.uint8 if bits <= 8 else np.uint16
    colours = apply_color_lut(np.arange(2**bits, dtype=kind), dataset)
    # Some scanners write 8-bit colours into 16-bit words.
    return (colours >> 8 if colours.max() > 255 else colours).astype(np.uint8)
