"""Pixels that are not compressed: as many frames as the bytes that are there hold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRBigEndian

from echofm_core.data.dicom.form import Form, Samples, form_of
from echofm_core.data.dicom.part10 import Object


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
