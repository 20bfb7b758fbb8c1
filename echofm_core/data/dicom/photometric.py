"""What the samples of a picture mean: to 8 bits, to grey, or to colours."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

from echofm_core.data.dicom.samples import Samples

Bytes = NDArray[np.uint8]


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
    def of(cls, dataset: Dataset) -> Photometric:
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
            values = values[..., 0]
            return _look_up(self._level_of(values, bits, False), values)
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
