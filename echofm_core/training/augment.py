"""Small, anatomically legal changes of a training window."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmentation:
    """Ranges of the changes; each window draws once, all its frames change alike.

    There is no flip: left-right and up-down carry the view's orientation. Scale is kept small
    because volumes are read from it.

    Attributes:
        shift: Largest shift along an axis, as a share of the side.
        scale: Largest relative change of size.
        rotation: Largest rotation about the centre, in degrees.
        gain: Largest relative change of brightness.
        gamma: Largest natural logarithm of the exponent of grey values.
    """

    shift: float = 0.04
    scale: float = 0.05
    rotation: float = 8.0
    gain: float = 0.15
    gamma: float = 0.2

    def __call__(self, frames: Frames, rng: np.random.Generator) -> Frames:
        """Changed copy of frames (T, H, W), uint8; black stays black."""
        dx, dy, size, turn, gain, gamma = rng.uniform(-1.0, 1.0, size=6)
        table = _grey_table(1 + self.gain * gain, float(np.exp(self.gamma * gamma)))
        # OpenCV wants channels last: the T frames are warped as channels of one picture.
        picture = np.ascontiguousarray(frames.transpose(1, 2, 0))
        height, width = picture.shape[:2]
        matrix = cv2.getRotationMatrix2D(
            ((width - 1) / 2, (height - 1) / 2), self.rotation * turn, 1 + self.scale * size
        )
        matrix[:, 2] += self.shift * dx * width, self.shift * dy * height
        moved = cv2.warpAffine(cv2.LUT(picture, table), matrix, (width, height))
        return np.asarray(moved, np.uint8).reshape(height, width, -1).transpose(2, 0, 1)


def _grey_table(gain: float, gamma: float) -> Frames:
    """New grey value of each old one: ``255 * gain * (x / 255) ** gamma``, saturating."""
    grey = np.linspace(0.0, 1.0, 256)
    return np.clip(np.rint(255 * gain * grey**gamma), 0, 255).astype(np.uint8)
