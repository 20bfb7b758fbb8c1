"""MetaImage sequences: a text header and a raw file, as the earlier CAMUS release has them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echofm_core.data.nifti import as_grey, parse_settings
from echofm_core.errors import UnreadableFileError

TYPES = {
    "MET_UCHAR": "u1",
    "MET_CHAR": "i1",
    "MET_USHORT": "u2",
    "MET_SHORT": "i2",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
#: Bytes of a header: more is no header.
LONGEST = 65536


@dataclass(frozen=True, kw_only=True, slots=True)
class MetaHeader:
    """What an ``.mhd`` file says: frames, height, width, element type, and its raw file."""

    shape: tuple[int, int, int]
    dtype: np.dtype[np.generic]
    raw: Path
    compressed: bool


def read_header(file: Path) -> MetaHeader:
    """Parse a header.

    Raises:
        UnreadableFileError: Not a header of a sequence, or its raw file is missing or elsewhere.
    """
    try:
        with file.open("rb") as stream:
            text = stream.read(LONGEST).decode("ascii", errors="replace")
        values = parse_settings(text, "=")
        sizes = [int(word) for word in values["DimSize"].split()]
        kind, name = TYPES[values["ElementType"]], values["ElementDataFile"]
    except (OSError, KeyError, ValueError) as error:
        raise UnreadableFileError(
            f"an MHD file has no readable header ({type(error).__name__})."
        ) from None
    width, height, frames = (*sizes, 1)[:3] if len(sizes) in (2, 3) else (0, 0, 0)
    if min(width, height, frames) < 1:
        raise UnreadableFileError("an MHD file declares no sequence of frames.")
    raw = file.with_name(Path(name).name)
    if raw.name != name or not raw.is_file():
        raise UnreadableFileError("the raw file of an MHD header is not beside it.")
    big = values.get("BinaryDataByteOrderMSB", values.get("ElementByteOrderMSB", "")) == "True"
    return MetaHeader(
        shape=(frames, height, width),
        dtype=np.dtype((">" if big else "<") + kind),
        raw=raw,
        compressed=values.get("CompressedData", "") == "True",
    )


def read_sequence(file: Path) -> NDArray[np.uint8]:
    """Frames ``(N, H, W)`` uint8 that are whole, whatever number the header says.

    Raises:
        UnreadableFileError: Damaged, or without one whole frame.
    """
    header = read_header(file)
    frames, height, width = header.shape
    size = height * width * header.dtype.itemsize
    try:
        with header.raw.open("rb") as stream:
            data = stream.read() if header.compressed else stream.read(frames * size)
        if header.compressed:
            data = zlib.decompressobj().decompress(data, frames * size)
    except (OSError, zlib.error, OverflowError, MemoryError) as error:
        raise UnreadableFileError(
            f"the raw file of an MHD header cannot be read ({type(error).__name__})."
        ) from None
    whole = min(frames, len(data) // size)
    if not whole:
        raise UnreadableFileError("an MHD sequence holds no whole frame.")
    values = np.frombuffer(data, header.dtype, count=whole * height * width)
    return as_grey(values.reshape(whole, height, width))
