"""PNG stills of one study stacked as the frames of one clip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from echofm_core.data.resize import letterbox
from echofm_core.errors import UnreadableFileError


def read_stack(files: Sequence[Path]) -> NDArray[np.uint8]:
    """Read stills as ``(N, H, W)`` uint8; those of another size are fitted to the first's.

    Raises:
        UnreadableFileError: One cannot be read; the caller decides by file, see
            :func:`is_readable`.
    """
    images = [_read(file) for file in files]
    height, width = images[0].shape
    if any(image.shape != (height, width) for image in images):
        side = max(height, width)
        images = [letterbox(image[None], side)[0] for image in images]
    return np.stack(images)


def _read(file: Path) -> NDArray[np.uint8]:
    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("L"), dtype=np.uint8)
    except Exception as error:  # Pillow raises many kinds for a damaged image
        raise UnreadableFileError(f"an image cannot be read ({type(error).__name__}).") from None


def is_readable(file: Path) -> bool:
    """Does the file decode to an image?"""
    try:
        _read(file)
    except UnreadableFileError:
        return False
    return True
