"""PNG stills of one study stacked as the frames of one clip."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from echofm_core.data.limits import check_pixels
from echofm_core.data.resize import letterbox
from echofm_core.runtime.errors import UnreadableFileError, refusing


def read_stack(files: Sequence[Path]) -> NDArray[np.uint8]:
    """Read stills as ``(N, H, W)`` uint8; those of another size are fitted to the first's.

    Raises:
        UnreadableFileError: One cannot be read; the caller decides by file, see
            :func:`is_readable`.
    """
    shapes = [_shape(file) for file in files]
    height, width = shapes[0]
    if fitted := len(set(shapes)) > 1:
        height = width = max(height, width)
    check_pixels(len(files), height, width, size=sum(file.stat().st_size for file in files))
    frames = np.empty((len(files), height, width), np.uint8)
    for frame, file in zip(frames, files, strict=True):
        image = _read(file)
        frame[:] = letterbox(image[None], height)[0] if fitted else image
    return frames


@contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    """A picture whose pixels are not read yet; damage is one error.

    By the one format expected: Pillow would also hand a PostScript file of that name to an
    interpreter.
    """
    with refusing("an image cannot be read"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a picture's size, which is checked here
        with Image.open(file, formats=("PNG",)) as image:
            check_pixels(1, image.height, image.width, size=file.stat().st_size)
            yield image


def _shape(file: Path) -> tuple[int, int]:
    with _opened(file) as image:
        return image.height, image.width


def _read(file: Path) -> NDArray[np.uint8]:
    with _opened(file) as image:
        return np.asarray(image.convert("L"), dtype=np.uint8)


def is_readable(file: Path) -> bool:
    """Does the file decode to an image?"""
    try:
        _read(file)
    except UnreadableFileError:
        return False
    return True
