"""Grey frames of a DICOM cine, straight from the luminance where the coding allows it.

Colour conversion of YBR JPEG is the bulk of pydicom's time and is thrown away again here, where
only grey is wanted: libjpeg hands over the Y channel alone, 5 to 15 times faster. How many frames
there are, and their size, is taken from what decodes, never from the header.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echofm_core.data.dicom import fragments
from echofm_core.data.dicom.codecs import NATIVE, VIDEO, decoder_of, syntax_name
from echofm_core.data.dicom.header import frame_rate, region_of
from echofm_core.data.dicom.meaning import Meaning
from echofm_core.data.dicom.native import read_native
from echofm_core.data.dicom.part10 import Object, open_object
from echofm_core.data.dicom.sector import Box
from echofm_core.data.dicom.streams import read_stream
from echofm_core.data.hush import hushed
from echofm_core.data.limits import check_pixels
from echofm_core.errors import UnreadableFileError


def read_cine(file: Path) -> tuple[NDArray[np.uint8], float | None, Box | None]:
    """Decode a cine.

    Returns:
        Frames ``(N, H, W)`` uint8, as many as are really there; frames a second or None; the
        declared image region, clipped to the frame, or None.

    Raises:
        UnreadableFileError: Damaged, or in a coding that nothing installed decodes (named).
    """
    opened = open_object(file)
    try:
        frames, container_fps = _decode(opened)
    except UnreadableFileError:
        raise
    except Exception as error:  # decoders raise their own kinds
        raise UnreadableFileError(
            f"a DICOM cine in transfer syntax {syntax_name(opened.syntax)} is damaged "
            f"({type(error).__name__})."
        ) from None
    height, width = frames.shape[1:]
    return (
        frames,
        frame_rate(opened.dataset) or container_fps,
        region_of(opened.dataset, height, width),
    )


def _decode(opened: Object) -> tuple[NDArray[np.uint8], float | None]:
    if opened.syntax in VIDEO:
        return read_stream(fragments.stream(opened.pixels))
    if opened.syntax in NATIVE:
        return Meaning.of(opened.dataset).grey(read_native(opened)), None
    with hushed():
        return _decode_images(opened), None


def _decode_images(opened: Object) -> NDArray[np.uint8]:
    """One compressed image a frame, up to the first that is damaged or of another size."""
    decode, meaning = decoder_of(opened.syntax), Meaning.of(opened.dataset)
    images = fragments.images(opened.pixels)
    frames = np.empty((0, 0, 0), np.uint8)
    for number, image in enumerate(images):
        try:
            picture = decode(image, opened.dataset)
        except Exception:
            if number == 0:
                raise
            return frames[:number]
        grey = meaning.grey(picture.values[None], picture.bits, picture.signed)
        if number == 0:
            check_pixels(len(images), *grey.shape[1:], size=len(opened.pixels))
            frames = np.empty((len(images), *grey.shape[1:]), np.uint8)
        if grey.shape[1:] != frames.shape[1:]:
            return frames[:number]
        frames[number] = grey[0]
    if not images:
        raise ValueError("no image")
    return frames
