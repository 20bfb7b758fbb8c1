"""Which decoder opens which transfer syntax: one each, whatever else is installed.

Decoders differ by up to 20 grey levels on lossy JPEG, so that a choice by what happens to be there
would give two hospitals, or one before and after an update, different pixels.
"""

import re
import struct
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from io import BytesIO
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.pixels.utils import get_j2k_parameters

from echofm_core.data.colour import jpeg_to_grey, jpeg_to_rgb
from echofm_core.data.dicom.samples import Samples, decode_run_length, form_of
from echofm_core.data.limits import LARGEST_FRAME
from echofm_core.runtime.errors import UnreadableFileError
from echofm_core.runtime.extras import install

#: What an optional codec needs.
EXTRA, PACKAGE = "codecs", "imagecodecs"


class Picture(NamedTuple):
    """One decoded frame.

    Attributes:
        values: ``(H, W)`` or ``(H, W, 3)`` uint8 or uint16; of JPEG in 8 bits the luminance alone.
        bits: Of a sample; what is above them does not count.
        signed: In two's complement; None where the image does not say.
    """

    values: Samples
    bits: int
    signed: bool | None = None


#: From a frame's image and its file's header.
Decoder = Callable[[bytes, Dataset], Picture]


def decoder_of(syntax: str) -> Decoder:
    """What decodes one frame's image in a transfer syntax.

    Raises:
        UnreadableFileError: Nothing does; it says whether the optional codecs would.
    """
    if syntax in OPTIONAL:
        _need_extra(f"is in transfer syntax {syntax_name(syntax)}")
        return OPTIONAL[syntax]
    if syntax not in DECODERS:
        raise UnreadableFileError(
            f"a DICOM file is in transfer syntax {syntax_name(syntax)}, which nothing here "
            "decodes, no extra either; export it in another, JPEG for instance."
        )
    return DECODERS[syntax]


def _need_extra(what: str) -> None:
    if find_spec(PACKAGE) is None:
        raise UnreadableFileError(
            f"a DICOM file {what}, which optional codecs decode: {install(EXTRA)}."
        )


def syntax_name(syntax: str) -> str:
    """Name and UID for messages."""
    if re.fullmatch(r"[0-9.]{1,64}", syntax) is None:
        return "unknown (the header names none)"
    name = JPEG_XL.get(syntax) or uid.UID(syntax).name
    return f"{'unknown' if name == syntax else name} ({syntax})"


def jpeg_colour(image: bytes) -> NDArray[np.uint8] | None:
    """RGB uint8 ``(H, W, 3)`` of a lossy JPEG of 8 bits, half as large where it is large.

    None where it has one component or 12 bits: grey, as scanners write those.
    """
    header = _check_jpeg(image)
    if header.components < 3 or header.bits != 8:
        return None
    picture = jpeg_to_rgb(np.frombuffer(image, np.uint8), header.height, header.width)
    if picture is None:
        raise ValueError("not an image")
    return picture


def jpeg_grey(image: bytes, header: Dataset) -> Picture:
    """Luminance by OpenCV's libjpeg, 5 to 15 times faster than by way of colours."""
    if _check_jpeg(image).bits != 8:
        _need_extra("holds JPEG images of 12 bits")
        return _lossless_jpeg(image, header)  # its decoder has both
    decoded = jpeg_to_grey(np.frombuffer(image, np.uint8))
    if decoded is None:
        raise ValueError("not an image")
    return Picture(decoded, 8, signed=False)


def _jpeg_2000(image: bytes, header: Dataset) -> Picture:
    """By Pillow's OpenJPEG, which has the high-throughput form too.

    It fills 8 or 16 bits and moves signed samples to start at 0; both are undone.
    """
    stored = get_j2k_parameters(image)
    with Image.open(BytesIO(image), formats=("JPEG2000",)) as opened:
        _check_size(*opened.size)
        values: Samples = np.array(opened)
    bits = min(int(stored["precision"]), 8 * values.itemsize)
    values >>= values.dtype.type(8 * values.itemsize - bits)
    if not stored["is_signed"]:
        return Picture(values, bits)
    values ^= values.dtype.type(2 ** (bits - 1))
    return Picture(values, bits, signed=True)


def _lossless_jpeg(image: bytes, header: Dataset) -> Picture:
    import imagecodecs

    bits = _check_jpeg(image).bits
    return Picture(imagecodecs.jpeg8_decode(image), bits)


def _jpeg_ls(image: bytes, header: Dataset) -> Picture:
    import imagecodecs

    bits = _check_jpeg(image).bits
    # Of an image that is cut, the decoder looks for more bits for seconds, unless a marker follows.
    return Picture(imagecodecs.jpegls_decode(image + b"\xff\xd9"), bits)


def _run_length(image: bytes, header: Dataset) -> Picture:
    form = form_of(header)
    _check_size(form.width, form.height)
    return Picture(decode_run_length(image, form), 8 * form.bytes_each)


class _FrameHeader(NamedTuple):
    bits: int
    height: int
    width: int
    components: int


def _check_jpeg(image: bytes) -> _FrameHeader:
    """The frame header of a JPEG or JPEG-LS image of a believable size."""
    start = 2
    while start + 10 <= len(image):
        marker, length = struct.unpack_from(">HH", image, start)
        if marker == 0xFFFF:  # fill before a marker
            start += 1
        elif marker == 0xFFF7 or (0xFFC0 <= marker <= 0xFFCF and marker not in _NO_FRAME):
            header = _FrameHeader(*struct.unpack_from(">BHHB", image, start + 4))
            _check_size(header.width, header.height)
            return header
        elif marker == 0xFFDA or length < 2:
            break
        else:
            start += 2 + length
    raise ValueError("no frame header")


#: Huffman tables, extensions and arithmetic conditioning stand among the frame headers' markers.
_NO_FRAME = (0xFFC4, 0xFFC8, 0xFFCC)


def _check_size(width: int, height: int) -> None:
    if not 0 < width * height <= LARGEST_FRAME:
        raise ValueError("not a believable size")


DECODERS: Mapping[str, Decoder] = {
    uid.JPEGBaseline8Bit: jpeg_grey,
    uid.JPEGExtended12Bit: jpeg_grey,
    uid.JPEG2000Lossless: _jpeg_2000,
    uid.JPEG2000: _jpeg_2000,
    uid.HTJ2KLossless: _jpeg_2000,
    uid.HTJ2KLosslessRPCL: _jpeg_2000,
    uid.HTJ2K: _jpeg_2000,
    uid.RLELossless: _run_length,
}
#: Codecs that Pillow and OpenCV do not have, or not in all bit depths.
OPTIONAL: Mapping[str, Decoder] = {
    uid.JPEGLossless: _lossless_jpeg,
    uid.JPEGLosslessSV1: _lossless_jpeg,
    uid.JPEGLSLossless: _jpeg_ls,
    uid.JPEGLSNearLossless: _jpeg_ls,
}
#: MPEG-2, MPEG-4 and HEVC streams, and their fragmentable forms.
VIDEO = frozenset(
    f"1.2.840.10008.1.2.4.{number}{form}" for number in range(100, 109) for form in ("", ".1")
)
#: Not compressed.
NATIVE = frozenset(uid.UncompressedTransferSyntaxes)
#: Newer than pydicom's list.
JPEG_XL: Mapping[str, str] = {
    "1.2.840.10008.1.2.4.110": "JPEG XL Lossless",
    "1.2.840.10008.1.2.4.111": "JPEG XL JPEG Recompression",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
}
