"""MetaImage sequences: a text header and a raw file, as the earlier CAMUS release has them."""

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echofm_core.data.formats.nifti import (
    SequenceHeader,
    parse_settings,
    read_frames,
    read_text,
)
from echofm_core.data.limits import PixelSize, believable_size, check_pixels
from echofm_core.runtime.errors import UnreadableFileError, refusing

TYPES = {
    "MET_UCHAR": "u1",
    "MET_CHAR": "i1",
    "MET_USHORT": "u2",
    "MET_SHORT": "i2",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}


def read_header(file: Path) -> SequenceHeader:
    """Parse a header.

    Raises:
        UnreadableFileError: Not a header of a sequence, or its raw file is missing or elsewhere.
    """
    with refusing("an MHD file has no readable header"):
        values = parse_settings(read_text(file), "=")
        sizes = [int(word) for word in values["DimSize"].split()]
        kind, name = TYPES[values["ElementType"]], values["ElementDataFile"]
        width, height, frames = (*sizes, 1)[:3] if len(sizes) in (2, 3) else (0, 0, 0)
        raw = file.parent / Path(name).name
        if raw.name != name or not raw.is_file():
            raise UnreadableFileError("the raw file of an MHD header is not beside it.")
    check_pixels(frames, height, width, size=raw.stat().st_size)
    big = values.get("BinaryDataByteOrderMSB", values.get("ElementByteOrderMSB", "")) == "True"
    return SequenceHeader(
        shape=(frames, height, width),
        dtype=np.dtype((">" if big else "<") + kind),
        file=raw,
        zlib=values.get("CompressedData", "") == "True",
        pixel=_pixel_size(values.get("ElementSpacing", ""), height, width),
    )


def read_sequence(file: Path) -> NDArray[np.uint8]:
    """Frames ``(N, H, W)`` uint8 that are whole, whatever number the header says.

    Raises:
        UnreadableFileError: Damaged, or without one whole frame.
    """
    header = read_header(file)
    with refusing("the raw file of an MHD header cannot be read"), header.file.open("rb") as raw:
        frames = read_frames(_inflating(raw.read()) if header.zlib else raw.read, header)
    if not len(frames):
        raise UnreadableFileError("an MHD sequence holds no whole frame.")
    return frames


def _pixel_size(spacing: str, height: int, width: int) -> PixelSize | None:
    """Of the text "across down time", in mm."""
    try:
        across, down = (float(word) / 10 for word in spacing.split()[:2])
    except ValueError:
        return None
    return believable_size(across, down, height, width)


def _inflating(packed: bytes) -> Callable[[int], bytes]:
    """Reads a zlib stream; no more is unpacked at a time than is asked for."""
    unpacker = zlib.decompressobj()

    def read(size: int) -> bytes:
        nonlocal packed
        data = unpacker.decompress(packed, size)
        packed = unpacker.unconsumed_tail
        return data

    return read
