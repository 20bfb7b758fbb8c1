"""A DICOM cine decoded to grey, and a few of its frames checked for colour flow.

Grey comes straight from the luminance where the coding allows it. Colour conversion of YBR JPEG is
the bulk of pydicom's time and would be thrown away again: libjpeg hands over the Y channel alone, 5
to 15 times faster. How many frames there are, and their size, is taken from what decodes, never
from the header.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echofm_core.data.cine import Cine, assemble
from echofm_core.data.colour import is_coloured, spread
from echofm_core.data.dicom.codecs import (
    NATIVE,
    VIDEO,
    decoder_of,
    jpeg_colour,
    jpeg_grey,
    syntax_name,
)
from echofm_core.data.dicom.header import pixel_size_of, region_in_half, region_of, timing
from echofm_core.data.dicom.part10 import Object, images_of, open_object, stream_of
from echofm_core.data.dicom.samples import Photometric, read_native
from echofm_core.data.dicom.streams import read_stream, some_colours
from echofm_core.data.limits import check_pixels
from echofm_core.data.opening import silenced
from echofm_core.runtime.errors import refusing

#: Bytes of a file that are read first to check for colour flow; a second or two of most cines.
READ = 4 * 2**20
#: Frames, about a beat at 30 a second, of which a jet is seen in some; of fewer it may be in none.
BEAT = 24


def read_cine(file: Path) -> Cine:
    """Decode a cine.

    Raises:
        UnreadableFileError: Damaged, or in a coding that nothing installed decodes (named).
    """
    opened = open_object(file)
    with _refusing(opened):
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
        part = open_object(file, READ)
        if _shows_colour(part):
            return True
        if file.stat().st_size <= READ or _is_enough(part):
            return False
    except Exception:  # what is read was not one frame, or not a video's index
        pass
    opened = open_object(file)
    with _refusing(opened):
        return _shows_colour(opened)


def _is_enough(part: Object) -> bool:
    """Can the beginning of a file, of which no frame shows colour, stand for all of it?

    Not where few frames fit into it, as of pictures in colour that are not compressed.
    """
    dataset, native = part.dataset, part.syntax in NATIVE
    palette = "PALETTE" in str(dataset.get("PhotometricInterpretation")).upper()
    if part.syntax in VIDEO or (dataset.get("SamplesPerPixel") == 1 and not palette):
        return True
    return len(read_native(part) if native else images_of(part.pixels)) >= BEAT


def _refusing(opened: Object) -> AbstractContextManager[None]:
    name = syntax_name(opened.syntax)
    return refusing(f"a DICOM cine in transfer syntax {name} is damaged")


def _decode(opened: Object) -> Cine:
    if opened.syntax in VIDEO:
        return Cine(*read_stream(stream_of(opened.pixels)))
    meaning = Photometric.of(opened.dataset)
    if opened.syntax in NATIVE:
        return Cine(meaning.grey(read_native(opened)), None)
    decode, images = decoder_of(opened.syntax), images_of(opened.pixels)

    def grey(image: bytes) -> NDArray[np.uint8]:
        picture = decode(image, opened.dataset)
        values = picture.values[None]
        frame: NDArray[np.uint8] = meaning.grey(values, picture.bits, picture.signed)[0]
        check_pixels(len(images), *frame.shape, size=len(opened.pixels))
        return frame

    with silenced():
        frames, _, notes = assemble(_each(images, grey), len(images))
    return Cine(frames, None, notes=notes)


def _each(
    images: Sequence[bytes], decode: Callable[[bytes], NDArray[np.uint8] | None]
) -> Iterator[NDArray[np.uint8] | None]:
    """What each image decodes to, None where it is damaged: one damaged frame is not the cine.

    Raises:
        Exception: Of the last one, where all are damaged.
    """
    whole = False
    bad: Exception = ValueError("no image")
    for image in images:
        try:
            decoded = decode(image)
        except Exception as error:
            bad = error
            yield None
        else:
            whole = True
            yield decoded
    if not whole:
        raise bad


def _shows_colour(opened: Object) -> bool:
    with silenced():
        for picture in _pictures(opened):
            height, width, _ = picture.shape
            if is_coloured(picture, region_in_half(opened.dataset, height, width)):
                return True
    return False


def _pictures(opened: Object) -> Iterator[NDArray[np.uint8]]:
    """Some frames in RGB ``(H, W, 3)`` uint8, maybe halved; none where the samples are grey."""
    if opened.syntax in VIDEO:
        yield from some_colours(stream_of(opened.pixels))
        return
    meaning, dataset = Photometric.of(opened.dataset), opened.dataset
    pictures: Iterator[NDArray[np.uint8] | None]
    if opened.syntax in NATIVE:
        frames = read_native(opened, with_chroma=True)
        pictures = map(meaning.colour, (frames[number] for number in spread(len(frames))))
    else:
        decode = decoder_of(opened.syntax)
        jpeg = decode is jpeg_grey and meaning.palette is None
        if not jpeg and meaning.palette is None and dataset.get("SamplesPerPixel") == 1:
            return

        def colour(image: bytes) -> NDArray[np.uint8] | None:
            if jpeg:
                return jpeg_colour(image)
            decoded = decode(image, dataset)
            return meaning.colour(decoded.values, decoded.bits)

        images = images_of(opened.pixels)
        pictures = _each([images[number] for number in spread(len(images))], colour)
    yield from (picture for picture in pictures if picture is not None)
