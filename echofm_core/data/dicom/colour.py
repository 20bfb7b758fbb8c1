"""A look at a few frames of a cine whose header claims colour: is colour flow in the picture?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from echofm_core.data.dicom import fragments
from echofm_core.data.dicom.codecs import NATIVE, VIDEO, decoder_of, is_jpeg, jpeg_colour
from echofm_core.data.dicom.header import region_of
from echofm_core.data.dicom.meaning import Meaning
from echofm_core.data.dicom.native import read_native
from echofm_core.data.dicom.part10 import Object, open_object
from echofm_core.data.dicom.streams import some_colours
from echofm_core.data.hush import hushed

#: Frames looked at, spread over what is read: a jet is gone for half of the beat.
FRAMES = 8
#: Of a video, whose frames cannot be chosen, one of so many is looked at.
EVERY = 8
#: Bytes read of a file; a second or two of most cines.
READ = 4 * 2**20
#: Distance of a pixel's chroma (Cb and Cr, 0 to 255) from what is usual at its brightness, above
#: which it is coloured. What is usual is measured: scanners tint their grey maps.
TINT = 36.0
#: Level, 0 to 1, below which a pixel's chroma is noise.
DARK = 0.1
#: Width of the thinnest coloured thing that counts, as a share of the longer side: more than the
#: strokes of text and of an ECG.
STROKE = 1 / 160
#: Share of the image region that must be so coloured.
SHARE = 0.003


def shows_colour(file: Path) -> bool:
    """Does a patch in the image region of some frame have a colour of its own?

    True as well where the file cannot be decoded: the header's claim then stands.
    """
    for most in (READ, -1):  # more where that is not one frame, or not a video's index
        try:
            opened = open_object(file, most)
            with hushed():
                return any(_is_coloured(picture, opened) for picture in _pictures(opened))
        except Exception:  # decoders raise their own kinds
            continue
    return True


def _pictures(opened: Object) -> Iterator[NDArray[np.uint8]]:
    """Some frames in RGB ``(H, W, 3)`` uint8; none where the samples are grey."""
    if opened.syntax in VIDEO:
        yield from some_colours(fragments.stream(opened.pixels), FRAMES, EVERY)
        return
    meaning = Meaning.of(opened.dataset)
    if opened.syntax in NATIVE:
        frames = read_native(opened)
        pictures = (meaning.colour(frames[number]) for number in _spread(len(frames)))
    else:
        images = fragments.images(opened.pixels)
        chosen = (images[number] for number in _spread(len(images)))
        pictures = (_picture(image, opened, meaning) for image in chosen)
    yield from (picture for picture in pictures if picture is not None)


def _picture(image: bytes, opened: Object, meaning: Meaning) -> NDArray[np.uint8] | None:
    if is_jpeg(opened.syntax) and meaning.palette is None:
        return jpeg_colour(image)
    decoded = decoder_of(opened.syntax)(image, opened.dataset)
    return meaning.colour(decoded.values, decoded.bits)


def _spread(count: int) -> list[int]:
    if not count:
        raise ValueError("no whole frame")
    return sorted({round(place) for place in np.linspace(0, count - 1, FRAMES)})


def _is_coloured(picture: NDArray[np.uint8], opened: Object) -> bool:
    height, width, _ = picture.shape
    left, top, right, bottom = region_of(opened.dataset, height, width) or (0, 0, width, height)
    converted = cv2.cvtColor(picture[top:bottom, left:right], cv2.COLOR_RGB2YCrCb)
    parts = np.asarray(converted, np.float32) - np.array([0, 128, 128], np.float32)
    level, chroma = parts[..., :1] / np.float32(255), parts[..., 1:]
    apart = np.abs(chroma - _tint(level[::3, ::3], chroma[::3, ::3])(level)).max(axis=-1)
    side = max(3, round(STROKE * max(height, width)))
    patch = cv2.erode((apart > TINT).astype(np.uint8), np.ones((side, side), np.uint8))
    return bool(patch.mean() > SHARE)


def _tint(
    level: NDArray[np.float32], chroma: NDArray[np.float32]
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """The chroma ``(..., 2)`` that most pixels have at a level ``(..., 1)``, as a parabola from 0.

    It is fitted with least absolute differences, to which a minority of colours is nothing.
    """
    lit = level[..., 0] > DARK
    steps, wanted = level[lit], chroma[lit]
    terms = np.concatenate([steps, steps**2], axis=-1)
    factors = np.zeros((2, 2), np.float32)
    for _ in range(10 if len(steps) else 0):
        off = np.abs(wanted - terms @ factors).max(axis=-1)
        weighted = terms / np.maximum(off, 1)[:, None]
        factors = np.linalg.lstsq(weighted.T @ terms, weighted.T @ wanted, rcond=None)[0]
    return lambda at: np.concatenate([at, at**2], axis=-1) @ factors
