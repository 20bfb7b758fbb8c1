"""RLE lossless (PS3.5 annex G): byte planes, each packed in runs."""

from __future__ import annotations

import struct

import numpy as np

from echofm_core.data.dicom.form import Form, Samples

#: Bytes of the header: the number of segments and where each begins.
_HEADER = 64


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
