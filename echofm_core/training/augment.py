"""Anatomically legal changes of a training window."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from echofm_core.data.windows import ClipWindows, Window
from echofm_core.training.augmentation import AugmentationConfig

Frames = NDArray[np.uint8]
Indices = NDArray[np.int64]
#: 3 x 3, from (x, y, 1) of a pixel's centre to where it goes.
Affine = NDArray[np.float64]
#: As many channels as OpenCV warps at once with cubic interpolation.
_CHANNELS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Windows of a batch, and how much larger their changes made what they show."""

    windows: list[Window]
    #: Natural logarithm (B,) of a chamber's apparent volume over its own.
    volumes: NDArray[np.float32]


def drawn_windows(
    clips: ClipWindows,
    rows: Indices,
    config: AugmentationConfig | None,
    rng: np.random.Generator,
    own: slice = slice(None),
) -> Drawn:
    """A window of each clip with a random start, changed unless ``config`` is None.

    All of the batch's rows (B,) are drawn, but only the windows of ``own`` are read and returned.
    """
    picks = [clips.timelines[row].draw(rng) for row in rows]
    draws = [Draws.of(config, rng) for _ in rows] if config else []
    windows = [clips.cut(int(row), pick) for row, pick in zip(rows[own], picks[own], strict=True)]
    if config is None:
        return Drawn(windows, np.zeros(len(windows), np.float32))
    pairs = list(zip(windows, draws[own], strict=True))
    return Drawn(
        [changed(window, config, drawn) for window, drawn in pairs],
        np.array([drawn.volume(config) for _, drawn in pairs], np.float32),
    )


@dataclass(frozen=True, slots=True)
class Draws:
    """What is drawn at random for one window, apart from it: it can be drawn and not be used.

    Attributes:
        dx, dy, size, turn, gain, gamma, depth: In [-1, 1], shares of the ranges.
        crop: In [0, 1): share of the most that is cut away, and where the rest begins, x and y.
        flip: Left becomes right.
        speckle: In [0, 1), share of the largest blur.
    """

    dx: float
    dy: float
    size: float
    turn: float
    gain: float
    gamma: float
    crop: tuple[float, float, float] = (0.0, 0.0, 0.0)
    depth: float = 0.0
    flip: bool = False
    speckle: float = 0.0

    @classmethod
    def of(cls, config: AugmentationConfig, rng: np.random.Generator) -> Draws:
        """Draw; the order is part of the plan's bits.

        A change that is switched off by default and stays off draws nothing.
        """
        return replace(
            cls(*rng.uniform(-1.0, 1.0, size=6).tolist()),
            crop=(rng.random(), *rng.random(2).tolist()) if config.crop else (0.0, 0.0, 0.0),
            depth=rng.uniform(-1.0, 1.0) if config.depth else 0.0,
            flip=bool(config.flip and rng.random() < config.flip),
            speckle=rng.random() if config.speckle else 0.0,
        )

    def volume(self, config: AugmentationConfig) -> float:
        """Natural logarithm of the factor on every volume.

        Pixels keep their centimetres, so a heart that is drawn larger is a larger heart: by the
        cube of what both axes grow by, and by the stretch of the depth alone, since the area-length
        formula has the width squared.
        """
        grown = math.log1p(config.scale * self.size) - math.log1p(-config.crop * self.crop[0])
        return 3 * grown + math.log1p(config.depth * self.depth)


def changed(window: Window, config: AugmentationConfig, drawn: Draws) -> Window:
    """Changed copy of a window; what comes in from outside the picture is black."""
    table = _grey_table(1 + config.gain * drawn.gain, float(np.exp(config.gamma * drawn.gamma)))
    # OpenCV wants channels last: the T frames are warped as channels of one picture.
    picture = np.ascontiguousarray(window.frames.transpose(1, 2, 0))
    height, width = picture.shape[:2]
    picture = np.asarray(cv2.LUT(picture, table), np.uint8).reshape(picture.shape)
    matrix = _placed(width, height, config, drawn)
    if config.crop:
        matrix = matrix @ _cropped(width, height, config.crop, drawn.crop)
    if config.depth:
        matrix = matrix @ _deepened(window.sector, 1 + config.depth * drawn.depth)
    if drawn.flip:
        matrix = matrix @ np.array([[-1.0, 0, width - 1], [0, 1, 0], [0, 0, 1]])
    if config.speckle:
        picture = _blurred(picture, window.sector, config.speckle * drawn.speckle)
    moved = _warped(picture, matrix)
    sector = cv2.warpAffine(
        window.sector.view(np.uint8), matrix[:2], (width, height), flags=cv2.INTER_NEAREST
    )
    return Window(moved.transpose(2, 0, 1), window.times, sector.astype(bool))


def _warped(picture: Frames, matrix: Affine) -> Frames:
    """Picture (S, S, T), moved.

    Cubic: a mean of neighbours takes a tenth of the deviation from speckle, and a model that has
    learnt from dull windows reads too much motion, hence too high an EF, in what is not moved.
    """
    side = picture.shape[:2][::-1]
    starts = range(0, picture.shape[2], _CHANNELS)
    parts = (np.ascontiguousarray(picture[..., first : first + _CHANNELS]) for first in starts)
    moved = [cv2.warpAffine(part, matrix[:2], side, flags=cv2.INTER_CUBIC) for part in parts]
    whole = [part.reshape(*side[::-1], -1) for part in moved]
    return np.asarray(np.concatenate(whole, axis=2), np.uint8)


def _placed(width: int, height: int, config: AugmentationConfig, drawn: Draws) -> Affine:
    """Rotation and scale about the centre, then the shift."""
    centre = ((width - 1) / 2, (height - 1) / 2)
    turn, size = config.rotation * drawn.turn, 1 + config.scale * drawn.size
    matrix = np.eye(3)
    matrix[:2] = cv2.getRotationMatrix2D(centre, turn, size)
    matrix[:2, 2] += config.shift * drawn.dx * width, config.shift * drawn.dy * height
    return matrix


def _cropped(width: int, height: int, most: float, drawn: tuple[float, float, float]) -> Affine:
    """A random square of at least ``1 - most`` of the side, enlarged to fill the frame."""
    kept = 1 - most * drawn[0]
    left, top = np.array(drawn[1:]) * (1 - kept) * (width - 1, height - 1)
    return np.array([[1 / kept, 0, -left / kept], [0, 1 / kept, -top / kept], [0, 0, 1]])


def _deepened(sector: NDArray[np.bool_], stretch: float) -> Affine:
    """Lengths down from the sector's topmost row times ``stretch``, as another depth shows them."""
    top = float(sector.any(axis=1).argmax())
    return np.array([[1, 0, 0], [0, stretch, top * (1 - stretch)], [0, 0, 1]])


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
