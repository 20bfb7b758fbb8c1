"""Grey frames of a DICOM cine, straight from the luminance where the coding allows it.

Colour conversion of YBR JPEG is the bulk of pydicom's time and is thrown away again here, where
only grey is wanted: libjpeg hands over the Y channel alone, 5 to 15 times faster. How many frames
there are, and their size, is taken from what decodes, never from the header.
"""

from pathlib import Path

from echofm_core.data.cine import Assembly, Cine
from echofm_core.data.dicom import fragments
from echofm_core.data.dicom.codecs import NATIVE, VIDEO, damaged, decoder_of
from echofm_core.data.dicom.header import pixel_size_of, region_of, timing
from echofm_core.data.dicom.part10 import Object, open_object
from echofm_core.data.dicom.photometric import Photometric
from echofm_core.data.dicom.samples import read_native
from echofm_core.data.dicom.streams import read_stream
from echofm_core.data.limits import check_pixels
from echofm_core.data.silence import silenced
from echofm_core.runtime.errors import UnreadableFileError


def read_cine(file: Path) -> Cine:
    """Decode a cine.

    Raises:
        UnreadableFileError: Damaged, or in a coding that nothing installed decodes (named).
    """
    opened = open_object(file)
    try:
        cine = _decode(opened)
    except UnreadableFileError:
        raise
    except Exception as error:  # decoders raise their own kinds
        raise damaged(opened.syntax, error) from None
    height, width = cine.frames.shape[1:]
    fps, times = timing(opened.dataset, len(cine.frames))
    if fps is None:
        fps, times = cine.fps, cine.times
    region = region_of(opened.dataset, height, width)
    pixel = pixel_size_of(opened.dataset, height, width)
    return Cine(cine.frames, fps, region, times, cine.notes, pixel)


def _decode(opened: Object) -> Cine:
    if opened.syntax in VIDEO:
        return Cine(*read_stream(fragments.stream(opened.pixels)))
    if opened.syntax in NATIVE:
        return Cine(Photometric.of(opened.dataset).grey(read_native(opened)), None)
    with silenced():
        return _decode_images(opened)


def _decode_images(opened: Object) -> Cine:
    """One compressed image a frame."""
    decode, meaning = decoder_of(opened.syntax), Photometric.of(opened.dataset)
    images = fragments.images(opened.pixels)
    assembly, first = Assembly(len(images)), None
    bad: Exception = ValueError("no image")
    for image in images:
        try:
            picture = decode(image, opened.dataset)
            grey = meaning.grey(picture.values[None], picture.bits, picture.signed)[0]
        except Exception as error:  # decoders raise their own kinds
            bad = error
            assembly.add(None)
            continue
        if first is None:
            first = grey
            check_pixels(len(images), *grey.shape, size=len(opened.pixels))
        assembly.add(grey)
    if first is None:
        raise bad
    frames, _, notes = assembly.end()
    return Cine(frames, None, notes=notes)
