"""Anatomically legal changes of a training window."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from echofm_core.data.windows import ClipWindows, Window
from echofm_core.training.augment_config import AugmentationConfig

Frames = NDArray[np.uint8]
Indices = NDArray[np.int64]
#: 3 x 3, from (x, y, 1) of a pixel's centre to where it goes.
Affine = NDArray[np.float64]


def drawn_windows(
    clips: ClipWindows,
    rows: Indices,
    config: AugmentationConfig | None,
    rng: np.random.Generator,
) -> list[Window]:
    """A window of each clip with a random start, changed unless ``config`` is None."""
    windows = [clips.train_window(int(row), rng) for row in rows]
    return [augment(window, config, rng) for window in windows] if config else windows


def augment(window: Window, config: AugmentationConfig, rng: np.random.Generator) -> Window:
    """Changed copy of a window; what comes in from outside the picture is black.

    Args:
        window: Frames (T, S, S) uint8 with their sector (S, S).
        config: Ranges.
        rng: A change that is switched off by default and stays off draws nothing from it.
    """
    dx, dy, size, turn, gain, gamma = rng.uniform(-1.0, 1.0, size=6)
    table = _grey_table(1 + config.gain * gain, float(np.exp(config.gamma * gamma)))
    # OpenCV wants channels last: the T frames are warped as channels of one picture.
    picture = np.ascontiguousarray(window.frames.transpose(1, 2, 0))
    height, width = picture.shape[:2]
    picture = np.asarray(cv2.LUT(picture, table), np.uint8).reshape(picture.shape)
    matrix = _placed(width, height, config, (dx, dy, size, turn))
    if config.crop:
        matrix = matrix @ _cropped(width, height, config.crop, rng)
    if config.depth:
        stretch = 1 + config.depth * rng.uniform(-1.0, 1.0)
        matrix = matrix @ _deepened(window.sector, stretch)
    if config.flip and rng.random() < config.flip:
        matrix = matrix @ _flipped(width)
    if config.speckle:
        picture = _blurred(picture, window.sector, config.speckle * rng.random())
    moved = cv2.warpAffine(picture, matrix[:2], (width, height))
    sector = cv2.warpAffine(
        window.sector.view(np.uint8), matrix[:2], (width, height), flags=cv2.INTER_NEAREST
    )
    frames = np.asarray(moved, np.uint8).reshape(height, width, -1).transpose(2, 0, 1)
    return Window(frames, window.times, sector.astype(bool))


def _placed(
    width: int, height: int, config: AugmentationConfig, draws: tuple[float, float, float, float]
) -> Affine:
    """Rotation and scale about the centre, then the shift; draws in [-1, 1]."""
    dx, dy, size, turn = draws
    centre = ((width - 1) / 2, (height - 1) / 2)
    matrix = np.eye(3)
    matrix[:2] = cv2.getRotationMatrix2D(centre, config.rotation * turn, 1 + config.scale * size)
    matrix[:2, 2] += config.shift * dx * width, config.shift * dy * height
    return matrix


def _cropped(width: int, height: int, most: float, rng: np.random.Generator) -> Affine:
    """A random square of at least ``1 - most`` of the side, enlarged to fill the frame."""
    kept = 1 - most * rng.random()
    left, top = rng.random(2) * (1 - kept) * (width - 1, height - 1)
    return np.array([[1 / kept, 0, -left / kept], [0, 1 / kept, -top / kept], [0, 0, 1]])


def _deepened(sector: NDArray[np.bool_], stretch: float) -> Affine:
    """Lengths down from the sector's topmost row times ``stretch``, as another depth shows them."""
    top = float(sector.any(axis=1).argmax())
    return np.array([[1, 0, 0], [0, stretch, top * (1 - stretch)], [0, 0, 1]])


def _flipped(width: int) -> Affine:
    """Left becomes right."""
    return np.array([[-1.0, 0, width - 1], [0, 1, 0], [0, 0, 1]])


def _blurred(picture: Frames, sector: NDArray[np.bool_], sigma: float) -> Frames:
    """Picture (S, S, T) blurred inside the sector, as a wider beam blurs speckle."""
    # In whole numbers OpenCV rounds the Gaussian itself.
    blurred = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), max(sigma, 1e-3))
    grey = np.rint(blurred).astype(np.uint8).reshape(picture.shape)
    return np.where(sector[..., None], grey, picture)


def _grey_table(gain: float, gamma: float) -> Frames:
    """New grey value of each old one: ``255 * gain * (x / 255) ** gamma``, saturating."""
    grey = np.linspace(0.0, 1.0, 256)
    return np.clip(np.rint(255 * gain * grey**gamma), 0, 255).astype(np.uint8)
