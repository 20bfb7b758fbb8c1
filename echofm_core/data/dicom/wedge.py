"""The shape of an ultrasound sector, fitted to an area that is too small or too large in parts.

Dark flanks and a dark far field leave holes in what is seen of a sector, and an ECG that touches it
adds to it. Two straight flanks and an elliptic end (a circle, where pixels are square) are fitted
to the outline by consensus: much of it must lie on them, little outside, and any part inside.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Distance from a line, as a share of the longer side, within which outline lies on it.
NEAR = 0.005
#: Outline outside counts so many times against a line as outline on it counts for it.
OUTSIDE = 3.0
#: Share of an outline that must lie on its line, and share that may lie outside.
SUPPORT, MOST_OUTSIDE = 0.2, 0.2
#: Slopes that flanks can have, across over down: 9 to 68 degrees from straight down.
STEEPEST, FLATTEST = 0.16, 2.5
#: Width of a pixel over its height, at most; and its inverse, at least.
SQUEEZE = 2.2
#: Points of an outline that lines are drawn through, two at a time; and fewest of an outline.
POINTS, FEWEST = 40, 16


@dataclass(frozen=True, slots=True)
class Wedge:
    """A sector, in pixels.

    Attributes:
        apex: Where the flanks meet (x, y); above the picture for a curved probe.
        slopes: Of the left and the right flank, across over down.
        end: Radii of the ellipse around the apex, straight across and straight down.
        top: First row.
    """

    apex: tuple[float, float]
    slopes: tuple[float, float]
    end: tuple[float, float]
    top: float

    def mask(self, height: int, width: int, step: int = 1) -> NDArray[np.bool_]:
        """Pixels inside, ``(height, width)`` bool, of a picture ``step`` times as large."""
        down = ((np.arange(height) + 0.5) / step - self.apex[1])[:, None]
        across = (np.arange(width) + 0.5) / step - self.apex[0]
        inside = (across >= self.slopes[0] * down) & (across <= self.slopes[1] * down)
        inside &= down >= self.top - self.apex[1]
        inside &= (across / self.end[0]) ** 2 + (down / self.end[1]) ** 2 <= 1
        return np.asarray(inside)


def fit_wedge(area: NDArray[np.bool_]) -> Wedge | None:
    """The sector whose outline an area ``(H, W)`` has; None where it has no such outline."""
    width = area.shape[1]
    near = NEAR * max(area.shape)
    rows = np.flatnonzero(area.any(axis=1))
    first = area[rows].argmax(axis=1)
    last = width - area[rows, ::-1].argmax(axis=1)
    # An outline on the picture's border is the border's.
    left = _flank(rows[first > 1], -first[first > 1], near)
    right = _flank(rows[last < width - 1], last[last < width - 1], near)
    if left is None or right is None:
        return None
    # Both are x = start + slope * row, the left one mirrored.
    row = -(left[0] + right[0]) / (left[1] + right[1])
    apex = right[0] + right[1] * row, row
    end = _end(area, apex, near)
    return None if end is None else Wedge(apex, (-left[1], right[1]), end, float(rows[0]))


def _flank(
    rows: NDArray[np.intp], outermost: NDArray[np.intp], near: float
) -> tuple[float, float] | None:
    """Start and slope of the line on which an outline lies.

    Args:
        rows: Its rows, in order.
        outermost: How far out it is in each.
        near: Pixels.
    """
    if len(rows) < FEWEST:
        return None
    down, out = rows + 0.5, outermost.astype(np.float64)
    one, other = _pairs(len(rows))
    slopes = (out[other] - out[one]) / (down[other] - down[one])
    good = (down[other] - down[one] >= 0.15 * (down[-1] - down[0])) & (slopes >= STEEPEST)
    good &= slopes <= FLATTEST
    slopes, starts = slopes[good], (out[one] - slopes * down[one])[good]
    off = out - (starts[:, None] + slopes[:, None] * down)
    best = _consensus(off, near)
    if best is None:
        return None
    on = np.abs(off[best]) <= near
    slope, start = np.polyfit(down[on], out[on], 1)
    return float(start), float(slope)


def _end(
    area: NDArray[np.bool_], apex: tuple[float, float], near: float
) -> tuple[float, float] | None:
    """Radii of the ellipse around the apex on which the lower outline lies."""
    height = area.shape[0]
    columns = np.flatnonzero(area.any(axis=0))
    last = height - area[::-1, columns].argmax(axis=0)
    columns, last = columns[last < height - 1], last[last < height - 1]
    if len(columns) < FEWEST:
        return np.inf, np.inf  # it ends below the picture
    across, down = (columns + 0.5 - apex[0]) ** 2, (last - apex[1]) ** 2
    one, other = _pairs(len(columns))
    # a * across + b * down = 1: ellipses through two points, and circles through one.
    scale = across[one] * down[other] - across[other] * down[one]
    scale[scale == 0] = np.nan
    a, b = (down[other] - down[one]) / scale, (across[one] - across[other]) / scale
    with np.errstate(invalid="ignore"):
        good = (a > 0) & (b > 0) & (a < SQUEEZE**2 * b) & (b < SQUEEZE**2 * a)
    circles = 1 / (across + down)[np.unique(one)]
    a, b = np.concatenate([circles, a[good]]), np.concatenate([circles, b[good]])
    share = np.sqrt(a[:, None] * across + b[:, None] * down)
    best = _consensus((share - 1) / np.sqrt(b)[:, None], near)
    return None if best is None else (float(a[best] ** -0.5), float(b[best] ** -0.5))


def _pairs(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """All pairs of some of ``count`` points."""
    some = np.unique(np.linspace(0, count - 1, POINTS).round().astype(np.intp))
    one, other = np.triu_indices(len(some), 1)
    return some[one], some[other]


def _consensus(off: NDArray[np.float64], near: float) -> int | None:
    """Number of the line with most outline on it and least outside; None where none is good.

    Args:
        off: ``(lines, points)``, how far outside the line a point is.
        near: Pixels.
    """
    if not len(off):
        return None
    on, outside = (np.abs(off) <= near).mean(axis=1), (off > near).mean(axis=1)
    best = int(np.argmax(on - OUTSIDE * outside))
    return best if on[best] >= SUPPORT and outside[best] <= MOST_OUTSIDE else None
