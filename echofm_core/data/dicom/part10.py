"""Opening a DICOM file (PS3.10): its elements, and its pixels' bytes as far as they are there.

pydicom reads the elements before the pixels; where the pixels end is read here, because a file
that was cut in transfer still holds the frames before the cut.
"""

import logging
import struct
import warnings
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset as read_elements
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from echofm_core.data.file_kinds import begins_with_element
from echofm_core.runtime.errors import UnreadableFileError

# pydicom names files, and quotes what it finds odd when an element is read: so, maybe, a patient.
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module=r"pydicom\.")

#: Bytes that a deflated file may inflate to, of each byte unless it has only a few.
INFLATED, PER_BYTE, FEW_INFLATED = 2**29, 64, 2**26
#: Start of the file meta information, and of its first element's value: its own length.
_META, _META_LENGTH = 132, 140
_PIXEL_DATA = 0x7FE00010
_UNDEFINED = 0xFFFFFFFF
_ITEM = b"\xfe\xff\x00\xe0"


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


def read_dataset(file: Path, tags: list[str]) -> Dataset:
    """Some elements of a header; the pixels are not read.

    Raises:
        UnreadableFileError: The file cannot be opened, is no DICOM, or is damaged.
    """
    try:
        with file.open("rb") as stream:
            return _elements(stream, tags)[0]
    except UnreadableFileError:
        raise
    except OSError as error:
        raise UnreadableFileError(f"a DICOM file cannot be opened ({error.strerror}).") from None
    except Exception as error:  # a damaged header can raise anything
        raise UnreadableFileError(
            f"a DICOM file has no readable header ({type(error).__name__})."
        ) from None


def open_object(file: Path, most: int = -1) -> Object:
    """A file's elements and pixels.

    Args:
        file: Of any size; it is held in memory as it is.
        most: Read no more bytes than this; -1 is all of it.

    Raises:
        UnreadableFileError: The file cannot be opened, is no DICOM, or holds no pixels.
    """
    try:
        with file.open("rb") as opened:
            dataset, stream = _elements(BytesIO(opened.read(most)))
        pixels, vr = _pixels(dataset, stream)
    except UnreadableFileError:
        raise
    except OSError as error:
        raise UnreadableFileError(f"a DICOM file cannot be opened ({error.strerror}).") from None
    except Exception as error:
        raise UnreadableFileError(
            f"a DICOM file cannot be read ({type(error).__name__})."
        ) from None
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
    if bare or DeflatedExplicitVRLittleEndian.encode() not in start:
        found = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=tags, force=bare)
        return found, stream
    (length,) = struct.unpack_from("<I", start, _META_LENGTH)
    end = _META_LENGTH + 4 + length
    meta = read_elements(BytesIO(start[_META:end]), False, True)
    stream.seek(end)
    inflated = BytesIO(_inflate(stream.read()))
    dataset = read_elements(
        inflated,
        False,
        True,
        stop_when=lambda tag, *_: tag == _PIXEL_DATA,
        specific_tags=None if tags is None else [Tag(tag) for tag in tags],
    )
    dataset.file_meta = FileMetaDataset(meta)
    return dataset, inflated


def _inflate(data: bytes) -> bytes:
    """As far as it goes; pydicom's own would take what memory a small file asks for."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    most = min(INFLATED, max(FEW_INFLATED, PER_BYTE * len(data)))
    inflated = stream.decompress(data, most)
    if stream.unconsumed_tail:
        raise ValueError("inflates to more than a cine")
    return inflated


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
