"""Opening a DICOM file (PS3.10): its elements, and its pixels' bytes as far as they are there.

pydicom reads the elements before the pixels; where the pixels end is read here, because a file
that was cut in transfer still holds the frames before the cut. So is encapsulated pixel data
(PS3.5 A.4): frames are recognised by how their images begin. Offset tables are not read: they may
be empty, and where a file was rewritten they are often wrong. Nor is the number of frames.
"""

import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from echofm_core.data.file_kinds import begins_with_element
from echofm_core.runtime.errors import UnreadableFileError, refusing

# pydicom names files, and quotes what it finds odd when an element is read: so, maybe, a patient.
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module=r"pydicom\.")

#: Bytes that a deflated file may inflate to, of each byte unless it has only a few.
INFLATED, PER_BYTE, FEW_INFLATED = 2**29, 64, 2**26
#: Where the file meta information begins, and the value of its first element: its own length.
_META, _META_LENGTH = 132, 140
_UNDEFINED = 0xFFFFFFFF
_ITEM = b"\xfe\xff\x00\xe0"  # tag (FFFE,E000), in the order of its bytes
#: Bytes at the end of an image among which its end may stand, before padding.
_PADDED = 16


@dataclass(frozen=True, slots=True, eq=False, repr=False)  # no repr: it must not end up in a log
class Object:
    """A file opened for its pixels.

    Attributes:
        dataset: The elements before the pixels.
        syntax: Transfer syntax UID, "" where the file does not say.
        pixels: Value of the pixel element, shorter than declared where the file is cut.
        vr: Value representation of the pixel element, "" in implicit files.
    """

    dataset: Dataset
    syntax: str
    pixels: memoryview
    vr: str


@contextmanager
def header_elements(file: Path, tags: list[str]) -> Iterator[Dataset]:
    """Some elements of a header, for as long as they are used; the pixels are not read.

    Raises:
        UnreadableFileError: The file cannot be opened, is no DICOM, or is damaged: an element can
            raise anything when it is accessed first.
    """
    with refusing("a DICOM file has no readable header"), file.open("rb") as stream:
        yield _elements(stream, tags)[0]


def open_object(file: Path, most: int = -1) -> Object:
    """A file's elements and pixels, held in memory as they are.

    Args:
        file: Of any size.
        most: Read no more bytes than this; -1 is all of it.

    Raises:
        UnreadableFileError: The file cannot be opened, is no DICOM, or holds no pixels.
    """
    with refusing("a DICOM file cannot be read"), file.open("rb") as opened:
        dataset, stream = _elements(BytesIO(opened.read(most)))
        pixels, vr = _pixels(dataset, stream)
    if not pixels:
        raise UnreadableFileError("a DICOM file holds no pixels.")
    return Object(dataset, _syntax(dataset, pixels), pixels, vr)


def _syntax(dataset: Dataset, pixels: memoryview) -> str:
    """Transfer syntax; where no meta information says it, as its elements are written.

    Not for compressed pixels, which begin with an item: what they are is then unknown.
    """
    stated = str(dataset.file_meta.get("TransferSyntaxUID", ""))
    if stated or pixels[:4] == _ITEM:
        return stated
    implicit, little = dataset.original_encoding
    if not little:
        return str(ExplicitVRBigEndian)
    return str(ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian)


def _elements(stream: BinaryIO, tags: list[str] | None = None) -> tuple[Dataset, BinaryIO]:
    """Elements before the pixels, and a stream that stands at the pixels."""
    start = stream.read(1024)
    stream.seek(0)
    bare = start[_META - 4 : _META] != b"DICM"
    if bare and not begins_with_element(start):
        raise UnreadableFileError(
            "a DICOM file has no DICM marker, and does not begin with an element either; most "
            "likely it is another kind of file, or its start is lost."
        )
    if not bare and DeflatedExplicitVRLittleEndian.encode() in start:
        stream = BytesIO(_inflated(stream.read()))
    found = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=tags, force=bare)
    return found, stream


def _inflated(data: bytes) -> bytes:
    """A deflated file as a plain one; pydicom's own would take what memory a small file asks for.

    The meta information is as it was, but for the transfer syntax, padded to the same length.
    """
    (length,) = struct.unpack_from("<I", data, _META_LENGTH)
    start = _META_LENGTH + 4 + length
    plain = ExplicitVRLittleEndian.encode().ljust(len(DeflatedExplicitVRLittleEndian), b"\0")
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    most = min(INFLATED, max(FEW_INFLATED, PER_BYTE * len(data)))
    elements = stream.decompress(data[start:], most)
    if stream.unconsumed_tail:
        raise ValueError("inflates to more than a cine")
    return data[:start].replace(DeflatedExplicitVRLittleEndian.encode(), plain) + elements


def _pixels(dataset: Dataset, stream: BinaryIO) -> tuple[memoryview, str]:
    """Value of the element at which the stream stands, and its representation; empty if none."""
    element = stream.read(8)
    order = ">" if str(dataset.file_meta.get("TransferSyntaxUID")) == ExplicitVRBigEndian else "<"
    if len(element) < 8 or struct.unpack(f"{order}HH", element[:4]) != (0x7FE0, 0x0010):
        return memoryview(b""), ""
    # Not by the syntax, which files get wrong: read as a length, either of these would be odd.
    vr = element[4:6].decode("latin-1")
    if vr in ("OB", "OW", "UN"):
        (length,) = struct.unpack(f"{order}I", stream.read(4))
    else:
        vr, (length,) = "", struct.unpack(f"{order}I", element[4:])
    rest = memoryview(stream.read())
    return rest if length == _UNDEFINED else rest[:length], vr


def images_of(pixels: memoryview) -> list[bytes]:
    """One image a frame, which may be spread over several fragments; a cut frame is not there.

    A fragment that begins no image goes on with the one before; where that has come to its end,
    it is a frame of its own that is damaged.
    """
    frames: list[list[memoryview]] = []
    for fragment, whole in _fragments(pixels):
        begins = _begins_image(bytes(fragment[:12])) or (bool(frames) and _is_over(frames[-1]))
        if begins and whole:
            frames.append([fragment])
        elif frames and not begins:
            if not whole:
                frames.pop()
                break
            frames[-1].append(fragment)
    return [b"".join(parts) for parts in frames]


def _is_over(parts: list[memoryview]) -> bool:
    """Has an image come to its end? JPEG and its kin say so, run lengths do not."""
    says_so = bytes(parts[0][:2]) in (b"\xff\xd8", b"\xff\x4f")
    return says_so and bytes(parts[-1][-_PADDED:]).rstrip(b"\0").endswith(b"\xff\xd9")


def stream_of(pixels: memoryview) -> bytes:
    """A video, which is one stream over all fragments, as far as it is there."""
    return b"".join(fragment for fragment, _ in _fragments(pixels))


def _fragments(pixels: memoryview) -> Iterator[tuple[memoryview, bool]]:
    """Fragments in order, without the offset table, and whether they are there to their end."""
    start, first = 0, True
    while start + 8 <= len(pixels):
        tag, length = struct.unpack_from("<4sI", pixels, start)
        start += 8
        if tag != _ITEM:
            return
        if not first:
            yield pixels[start : start + length], start + length <= len(pixels)
        start, first = start + length, False


def _begins_image(start: bytes) -> bool:
    """Does a JPEG, JPEG-LS, JPEG 2000 or run-length image begin so?"""
    if start.startswith((b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")):
        return True
    segments, offset = struct.unpack_from("<II", start) if len(start) >= 8 else (0, 0)
    return bool(1 <= segments <= 15 and offset == 64)
