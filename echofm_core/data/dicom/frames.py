"""A DICOM cine decoded to grey, and a look at a few of its frames for colour flow.

Grey comes straight from the luminance where the coding allows it. Colour conversion of YBR JPEG is
the bulk of pydicom's time and would be thrown away again: libjpeg hands over the Y channel alone, 5
to 15 times faster. How many frames there are, and their size, is taken from what decodes, never
from the header.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echofm_core.data.cine import Assembly, Cine
from echofm_core.data.colour import is_coloured, spread
from echofm_core.data.dicom.codecs import (
    NATIVE,
    VIDEO,
    decoder_of,
    is_jpeg,
    jpeg_colour,
    syntax_name,
)
from echofm_core.data.dicom.header import pixel_size_of, region_of, timing
from echofm_core.data.dicom.part10 import Object, images_of, open_object, stream_of
from echofm_core.data.dicom.samples import Photometric, read_native
from echofm_core.data.dicom.streams import read_stream, some_colours
from echofm_core.data.limits import check_pixels
from echofm_core.data.silence import silenced
from echofm_core.runtime.errors import UnreadableFileError

#: Bytes of a file that are read to look for colour flow; a second or two of most cines.
READ = 4 * 2**20


def read_cine(file: Path) -> Cine:
    """Decode a cine.

    Raises:
        UnreadableFileError: Damaged, or in a coding that nothing installed decodes (named).
    """
    opened = open_object(file)
    with _damage_named(opened):
        cine = _decode(opened)
    height, width = cine.frames.shape[1:]
    fps, times = timing(opened.dataset, len(cine.frames))
    if fps is None:
        fps, times = cine.fps, cine.times
    region = region_of(opened.dataset, height, width)
    pixel = pixel_size_of(opened.dataset, height, width)
    return Cine(cine.frames, fps, region, times, cine.notes, pixel)


def shows_colour(file: Path) -> bool:
    """Does a patch in the image region of some frame have a colour of its own?

    Whatever the header says.

    Raises:
        UnreadableFileError: No frame can be decoded; it says why.
    """
    try:
        return _shows_colour(open_object(file, READ))
    except Exception:  # what is read was not one frame, or not a video's index
        opened = open_object(file)
    with _damage_named(opened):
        return _shows_colour(opened)


@contextmanager
def _damage_named(opened: Object) -> Iterator[None]:
    """Decoders raise their own kinds of error: here they refuse a file."""
    try:
        yield
    except UnreadableFileError:
        raise
    except Exception as error:
        raise UnreadableFileError(
            f"a DICOM cine in transfer syntax {syntax_name(opened.syntax)} is damaged "
            f"({type(error).__name__})."
        ) from None


def _decode(opened: Object) -> Cine:
    if opened.syntax in VIDEO:
        return Cine(*read_stream(stream_of(opened.pixels)))
    meaning = Photometric.of(opened.dataset)
    if opened.syntax in NATIVE:
        return Cine(meaning.grey(read_native(opened)), None)
    decode, images = decoder_of(opened.syntax), images_of(opened.pixels)
    assembly, first = Assembly(len(images)), True
    bad: Exception = ValueError("no image")
    with silenced():
        for image in images:
            try:
                picture = decode(image, opened.dataset)
                grey = meaning.grey(picture.values[None], picture.bits, picture.signed)[0]
            except Exception as error:  # one damaged frame is not the cine
                bad = error
                assembly.add(None)
                continue
            if first:
                check_pixels(len(images), *grey.shape, size=len(opened.pixels))
                first = False
            assembly.add(grey)
    if first:
        raise bad
    frames, _, notes = assembly.end()
    return Cine(frames, None, notes=notes)


def _shows_colour(opened: Object) -> bool:
    with silenced():
        for picture in _pictures(opened):
            height, width, _ = picture.shape
            if is_coloured(picture, region_of(opened.dataset, height, width)):
                return True
    return False


def _pictures(opened: Object) -> Iterator[NDArray[np.uint8]]:
    """Some frames in RGB ``(H, W, 3)`` uint8; none where the samples are grey."""
    if opened.syntax in VIDEO:
        yield from some_colours(stream_of(opened.pixels))
        return
    meaning, dataset = Photometric.of(opened.dataset), opened.dataset
    if opened.syntax in NATIVE:
        frames = read_native(opened)
        pictures = (meaning.colour(frames[number]) for number in spread(len(frames)))
        yield from (picture for picture in pictures if picture is not None)
        return
    decode = decoder_of(opened.syntax)
    jpeg = is_jpeg(opened.syntax) and meaning.palette is None
    if not jpeg and meaning.palette is None and dataset.get("SamplesPerPixel") == 1:
        return
    images, bad = images_of(opened.pixels), list[Exception]()
    chosen = spread(len(images))
    for number in chosen:
        try:
            if jpeg:
                picture = jpeg_colour(images[number])
            else:
                decoded = decode(images[number], dataset)
                picture = meaning.colour(decoded.values, decoded.bits)
        except Exception as error:  # one damaged frame is not the cine
            bad.append(error)
            continue
        if picture is not None:
            yield picture
    if len(bad) == len(chosen):
        raise bad[0]
