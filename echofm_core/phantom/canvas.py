"""A drawing board in the heart's own frame: tissue levels in dB, edges smooth below a pixel.

The board is 8-bit, because smooth edges are then drawn at memory speed; one level is 0.2 dB.
"""

import math
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Path = NDArray[np.float64]
Field = NDArray[np.float32]
#: One number, or a column (F, 1) of one a moment.
Value = float | NDArray[np.float64]
Point = tuple[Value, Value]

#: Pixels a cm; what the board covers, in cm: u from -LEFT to LEFT, v from -ABOVE to BELOW.
SCALE, LEFT, ABOVE, BELOW = 12.0, 9.0, 3.5, 15.0
ORIGIN = np.array([LEFT, ABOVE])
SHAPE = (round((ABOVE + BELOW) * SCALE), round(2 * LEFT * SCALE))
#: Fractional bits of the coordinates that are handed to OpenCV.
BITS = 4


class Tissue(IntEnum):
    """Level of a tissue on the board: 200 is 0 dB, 5 levels are 1 dB."""

    BLOOD = 8
    FAR = 46
    ATRIAL_WALL = 128
    MUSCLE = 142
    LINING = 172
    PERICARDIUM = 184
    VALVE = 196
    CALCIUM = 252


#: Scatterer amplitude of each level.
AMPLITUDE: Field = (10.0 ** ((np.arange(256) - 200) / 100)).astype(np.float32)


class _Shape(NamedTuple):
    path: NDArray[np.int32]  # (F, n, 2) in fixed-point pixels
    level: int
    width: int  # of the pen in pixels; 0: the path is filled
    at: NDArray[np.bool_] | None  # (F,); None: at all moments


class Canvas:
    """A drawing at F moments; what is drawn later covers what was drawn before.

    Paths are worked out for all moments at once, since NumPy takes as long for one as for fifty;
    each moment's board is drawn when it is asked for.
    """

    def __init__(self, moments: int) -> None:
        self._moments = moments
        self._shapes: list[_Shape] = []

    def fill(self, outline: Path, level: int) -> None:
        """Fill a closed outline of (u, v) in cm: (F, n, 2), or (n, 2) for one that stands still."""
        self._add(outline, level, 0)

    def stroke(
        self, path: Path, level: int, width: float, at: NDArray[np.bool_] | None = None
    ) -> None:
        """Draw an open path of (u, v), ``width`` cm thick, at the moments ``at`` (F,) or at all."""
        self._add(path, level, max(1, round(width * SCALE)), at)

    def dot(self, u: Value, v: Value, radius: Value, level: int) -> None:
        """Fill a circle."""
        self.fill(ellipse(u, v, radius, radius), level)

    def board(self, moment: int) -> NDArray[np.uint8]:
        """The tissue levels at one moment."""
        board = np.full(SHAPE, Tissue.FAR, dtype=np.uint8)
        for shape in self._shapes:
            path = [shape.path[moment]]
            if not shape.width:
                cv2.fillPoly(board, path, shape.level, cv2.LINE_AA, BITS)
            elif shape.at is None or shape.at[moment]:
                cv2.polylines(board, path, False, shape.level, shape.width, cv2.LINE_AA, BITS)
        return board

    def _add(self, path: Path, level: int, width: int, at: NDArray[np.bool_] | None = None) -> None:
        pixels = np.rint((path + ORIGIN) * (SCALE * 2**BITS)).astype(np.int32)
        if pixels.ndim == 2:
            pixels = np.repeat(pixels[None], self._moments, axis=0)
        self._shapes.append(_Shape(pixels, int(level), width, at))


def amplitude(board: NDArray[np.uint8], columns: Field, rows: Field) -> Field:
    """Scatterer amplitude where :func:`to_board` put points; any shape, float32."""
    outside = int(Tissue.FAR)
    levels = cv2.remap(board, columns, rows, cv2.INTER_LINEAR, None, cv2.BORDER_CONSTANT, outside)
    return np.asarray(cv2.LUT(levels, AMPLITUDE), np.float32)


def to_board(u: Field, v: Field) -> tuple[Field, Field]:
    """Columns and rows of the board at points (u, v) in cm."""
    scale = np.float32(SCALE)
    return (u + np.float32(LEFT)) * scale, (v + np.float32(ABOVE)) * scale


def ellipse(
    u: Value, v: Value, across: Value, along: Value, start: float = 0.0, stop: float = 2 * math.pi
) -> Path:
    """Arc (64, 2) of an ellipse around (u, v); angle 0 points to +u, a quarter turn to +v.

    Where any of the numbers is a column (F, 1), a number a moment, the arc is (F, 64, 2).
    """
    cosine, sine = _circle(start, stop)
    return path_of(u + across * cosine, v + along * sine)


def curve(start: Point, bend: Point, stop: Point) -> Path:
    """Quadratic Bezier curve (12, 2), or (F, 12, 2); coordinates as those of :func:`ellipse`."""
    share = np.linspace(0, 1, 12)
    first, second, third = (1 - share) ** 2, 2 * share * (1 - share), share**2
    points = zip(start, bend, stop, strict=True)
    u, v = (np.asarray((first * a + third * c) + second * b) for a, b, c in points)
    return path_of(u, v)


def corners(*points: Point) -> Path:
    """A path (n, 2), or (F, n, 2), straight from point to point."""
    u, v = (
        np.concatenate(np.atleast_1d(*np.broadcast_arrays(*numbers)), axis=-1)
        for numbers in zip(*points, strict=True)
    )
    return path_of(u, v)


def path_of(u: NDArray[np.float64], v: NDArray[np.float64]) -> Path:
    """A path from its coordinates, either of which may stand still."""
    whole = (u, v) if u.shape == v.shape else np.broadcast_arrays(u, v)
    return np.stack(whole, axis=-1)


@lru_cache(maxsize=8)
def _circle(start: float, stop: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cosine and sine of 64 angles."""
    angle = np.linspace(start, stop, 64)
    return np.cos(angle), np.sin(angle)
