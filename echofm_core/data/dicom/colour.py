"""A look at a few frames of a DICOM cine for colour flow, whatever its header says."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echofm_core.data.colour import is_coloured, spread
from echofm_core.data.dicom import fragments
from echofm_core.data.dicom.codecs import (
    NATIVE,
    VIDEO,
    damaged,
    decoder_of,
    is_jpeg,
    jpeg_colour,
)
from echofm_core.data.dicom.header import region_of
from echofm_core.data.dicom.part10 import Object, open_object
from echofm_core.data.dicom.photometric import Photometric
from echofm_core.data.dicom.samples import read_native
from echofm_core.data.dicom.streams import some_colours
from echofm_core.data.silence import silenced
from echofm_core.runtime.errors import UnreadableFileError

#: Bytes read of a file; a second or two of most cines.
READ = 4 * 2**20


def shows_colour(file: Path) -> bool:
    """Does a patch in the image region of some frame have a colour of its own?

    Raises:
        UnreadableFileError: No frame can be decoded; it says why.
    """
    try:
        return _shows_colour(open_object(file, READ))
    except Exception:  # what is read was not one frame, or not a video's index
        opened = open_object(file)
    try:
        return _shows_colour(opened)
    except UnreadableFileError:
        raise
    except Exception as error:  # decoders raise their own kinds
        raise damaged(opened.syntax, error) from None


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
        yield from some_colours(fragments.stream(opened.pixels))
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
    images, bad = fragments.images(opened.pixels), list[Exception]()
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
