"""NIfTI sequences, and the settings file that CAMUS puts beside them.

Read here rather than through nibabel, which believes what a header declares: frames are unpacked
and turned to grey one by one, so that memory is that of the grey frames, whatever a header says.
"""

import gzip
import math
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from echofm_core.data.limits import PixelSize, believable_rate, believable_size, check_pixels
from echofm_core.data.opening import unpacked
from echofm_core.runtime.errors import UnreadableFileError, refusing

Stream = BinaryIO | gzip.GzipFile

_SEQUENCE_NAME = re.compile(r"patient\d+_(2CH|4CH)_(half_sequence\.nii(\.gz)?|sequence\.mhd)")
_MASK_NAME = re.compile(r"_gt\.(nii(\.gz)?|mhd)$", re.IGNORECASE)
#: Bytes of a header, and where the pixels begin at the earliest.
HEADER, EARLIEST = 348, 352
#: Number formats by their code; colours and complex numbers are no grey levels.
TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4",
    1024: "i8", 1280: "u8",
}  # fmt: skip
#: Centimetres of a unit of length by its code. Where it is unknown, sizes are in mm by custom.
CENTIMETRES = {0: 0.1, 1: 100.0, 2: 0.1, 3: 1e-4}
#: Sizes of a header in which nobody set them; nothing is believed of it unless it names a unit.
UNSET = (1.0, 1.0)
#: Bytes of a settings file or a split list: more are none.
LONGEST = 65536


@dataclass(frozen=True, kw_only=True, slots=True)
class SequenceHeader:
    """What the header of a sequence says, NIfTI or MetaImage.

    Attributes:
        shape: Frames, height and width.
        dtype: Number format of an element.
        file, offset: What holds the elements, and where they begin in it, unpacked.
        zlib: They are packed in that form; gzip is recognised by itself.
        slope, intercept: Grey level of a number.
        pixel: Size of a pixel; None where nothing believable says.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[np.generic]
    file: Path
    offset: int = 0
    zlib: bool = False
    slope: float = 1.0
    intercept: float = 0.0
    pixel: PixelSize | None


def read_sequence(file: Path) -> NDArray[np.uint8]:
    """Read a sequence as ``(N, H, W)`` uint8.

    NIfTI holds ``(W, H, T)``, the first axis fastest, possibly with singleton axes.

    Raises:
        UnreadableFileError: Damaged, or not a sequence of frames.
    """
    with _reading(file) as stream:
        header = _header(stream, file)
        stream.seek(header.offset)
        frames = read_frames(stream.read, header)
        if len(frames) < header.shape[0]:
            raise EOFError
    return frames


def read_header(file: Path) -> SequenceHeader:
    """The header alone.

    Raises:
        UnreadableFileError: It cannot be read or is not that of a sequence.
    """
    with _reading(file) as stream:
        return _header(stream, file)


def read_frames(read: Callable[[int], bytes], header: SequenceHeader) -> NDArray[np.uint8]:
    """Frames ``(N, H, W)`` uint8 up to the first that is cut, whatever number format holds them.

    Args:
        read: Gives so many bytes, fewer at the end.
        header: Of the sequence.
    """
    frames = np.empty(header.shape, np.uint8)
    size = frames[0].size * header.dtype.itemsize
    for number, frame in enumerate(frames):
        if len(data := read(size)) < size:
            return frames[:number]
        values: NDArray[Any] = np.frombuffer(data, header.dtype).reshape(frame.shape)
        if (header.slope, header.intercept) != (1.0, 0.0):
            with np.errstate(all="ignore"):  # what is no number afterwards is black
                values = values * header.slope + header.intercept
        frame[:] = values if values.dtype == np.uint8 else np.nan_to_num(values).clip(0, 255)
    return frames


def in_order(frames: NDArray[np.uint8], file: Path) -> NDArray[np.uint8]:
    """Frames from end-diastole to end-systole, as the settings beside a CAMUS sequence say."""
    return np.ascontiguousarray(frames[::-1] if systole_first(_settings_of(file)) else frames)


def stated_rate(file: Path) -> float | None:
    """Frames a second, as the settings beside a CAMUS sequence say; None where there are none."""
    try:
        return believable_rate(float(_settings_of(file).get("FrameRate", "")))
    except ValueError:
        return None


@contextmanager
def _reading(file: Path) -> Iterator[Stream]:
    with refusing("a NIfTI file cannot be read"), file.open("rb") as raw:
        yield unpacked(raw)


def _header(stream: Stream, file: Path) -> SequenceHeader:
    """Parse the header. Source: nifti1.h (https://nifti.nimh.nih.gov)."""
    data = stream.read(HEADER)
    order = "<" if data[:4] == struct.pack("<i", HEADER) else ">"
    if data[:4] != struct.pack(f"{order}i", HEADER) or data[344:] != b"n+1\0":
        raise UnreadableFileError("a NIfTI file has no header of version 1.")
    dimensions, *sizes = struct.unpack_from(f"{order}8h", data, 40)
    (code,) = struct.unpack_from(f"{order}h", data, 70)
    across, down = struct.unpack_from(f"{order}2f", data, 80)
    offset, slope, intercept = struct.unpack_from(f"{order}3f", data, 108)
    if code not in TYPES:
        raise UnreadableFileError(f"a NIfTI file has number format {code}, no grey levels.")
    if not 3 <= dimensions <= len(sizes):
        raise UnreadableFileError(
            f"a NIfTI file has {dimensions} axes, expected width, height and frames."
        )
    shape = (math.prod(sizes[2:dimensions]), sizes[1], sizes[0])
    check_pixels(*shape, size=file.stat().st_size)
    length = data[123] & 7
    unit = None if length == 0 and (across, down) == UNSET else CENTIMETRES.get(length)
    if slope == 0 or not math.isfinite(slope) or not math.isfinite(intercept):
        slope, intercept = 1.0, 0.0
    return SequenceHeader(
        shape=shape,
        dtype=np.dtype(order + TYPES[code]),
        file=file,
        offset=max(EARLIEST, int(offset)),
        slope=slope,
        intercept=intercept,
        pixel=believable_size(across * unit, down * unit, *shape[1:]) if unit else None,
    )


def settings_beside(file: Path) -> Path | None:
    """The ``Info_4CH.cfg`` that belongs to a CAMUS sequence, if this is one."""
    match = _SEQUENCE_NAME.fullmatch(file.name)
    if match is None:
        return None
    settings = file.with_name(f"Info_{match.group(1)}.cfg")
    return settings if settings.is_file() else None


def _settings_of(sequence: Path) -> dict[str, str]:
    file = settings_beside(sequence)
    return {} if file is None else read_settings(file)


def read_settings(file: Path) -> dict[str, str]:
    """``Key: value`` lines; lines without a colon are ignored, unknown keys kept."""
    return parse_settings(read_text(file))


def read_text(file: Path) -> str:
    """A small text file, damage and all; what is longer than any is cut off."""
    with file.open("rb") as stream:
        return stream.read(LONGEST).decode("utf-8", errors="replace")


def parse_settings(text: str, separator: str = ":") -> dict[str, str]:
    """See :func:`read_settings`; keys and values without surrounding blanks."""
    pairs = (line.split(separator, 1) for line in text.splitlines() if separator in line)
    return {key.strip(): value.strip() for key, value in pairs}


def is_mask(file: Path) -> bool:
    """Is it a segmentation, as CAMUS puts one beside each sequence?"""
    return _MASK_NAME.search(file.name) is not None


def systole_first(settings: dict[str, str]) -> bool:
    """Does end-systole come before end-diastole (19 of CAMUS's 500 apical four-chamber views)?"""
    try:
        return int(settings["ES"]) < int(settings["ED"])
    except (KeyError, ValueError):
        return False
