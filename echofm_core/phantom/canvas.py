"""A drawing board in the heart's own frame: tissue levels in dB, edges smooth below a pixel.

The board is 8-bit, because smooth edges are then drawn at memory speed; one level is 0.2 dB.
"""

from __future__ import annotations

import math
from enum import IntEnum

import cv2
import numpy as np
from numpy.typing import NDArray

Path = NDArray[np.float64]
Field = NDArray[np.float32]

#: Pixels a cm; what the board covers, in cm: u from -LEFT to LEFT, v from -ABOVE to BELOW.
SCALE, LEFT, ABOVE, BELOW = 12.0, 9.0, 3.5, 15.0
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


class Canvas:
    """What is drawn later covers what was drawn before."""

    def __init__(self) -> None:
        shape = (round((ABOVE + BELOW) * SCALE), round(2 * LEFT * SCALE))
        self.board = np.full(shape, Tissue.FAR, dtype=np.uint8)

    def fill(self, outline: Path, level: int) -> None:
        """Fill a closed outline (n, 2) of (u, v) in cm."""
        cv2.fillPoly(self.board, [_fixed(outline)], int(level), cv2.LINE_AA, BITS)

    def stroke(self, path: Path, level: int, width: float) -> None:
        """Draw an open path (n, 2) of (u, v), ``width`` cm thick."""
        pixels = max(1, round(width * SCALE))
        cv2.polylines(self.board, [_fixed(path)], False, int(level), pixels, cv2.LINE_AA, BITS)

    def dot(self, u: float, v: float, radius: float, level: int) -> None:
        """Fill a circle."""
        self.fill(ellipse(u, v, radius, radius), level)

    def at(self, columns: Field, rows: Field) -> Field:
        """Scatterer amplitude where :func:`to_board` put points; any shape, float32."""
        outside = int(Tissue.FAR)
        levels = cv2.remap(
            self.board, columns, rows, cv2.INTER_LINEAR, None, cv2.BORDER_CONSTANT, outside
        )
        return np.asarray(AMPLITUDE[levels], np.float32)


def to_board(u: Field, v: Field) -> tuple[Field, Field]:
    """Columns and rows of the board at points (u, v) in cm."""
    scale = np.float32(SCALE)
    return (u + np.float32(LEFT)) * scale, (v + np.float32(ABOVE)) * scale


def ellipse(
    u: float, v: float, across: float, along: float, start: float = 0.0, stop: float = 2 * math.pi
) -> Path:
    """Arc of an ellipse around (u, v); angle 0 points to +u, a quarter turn to +v."""
    angle = np.linspace(start, stop, 64)
    return np.stack([u + across * np.cos(angle), v + along * np.sin(angle)], axis=1)


def curve(start: tuple[float, float], bend: tuple[float, float], stop: tuple[float, float]) -> Path:
    """Quadratic Bezier curve."""
    share = np.linspace(0, 1, 12)[:, None]
    ends = (1 - share) ** 2 * np.array(start) + share**2 * np.array(stop)
    path: Path = ends + 2 * share * (1 - share) * np.array(bend)
    return path


def _fixed(path: Path) -> NDArray[np.int32]:
    pixels = (path + np.array([LEFT, ABOVE])) * SCALE * 2**BITS
    return np.asarray(np.round(pixels), np.int32)
