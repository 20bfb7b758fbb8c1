"""The views a probe can take, and how each is drawn in the heart's own frame, in cm."""

import math
from collections.abc import Callable, Mapping
from enum import StrEnum

from echofm_core.phantom.anatomy import Column, Moment
from echofm_core.phantom.canvas import (
    Canvas,
    Path,
    Point,
    Tissue,
    Value,
    corners,
    curve,
    ellipse,
    path_of,
)

#: Depth of the left ventricle's axis, and u of its base at end-diastole, in the long axis.
AXIS, BASE = 6.1, 0.7
#: Half-width of the aortic root.
ROOT = 1.25


class View(StrEnum):
    """Standard transthoracic views; PSAX is at the aortic valve, PSAX_LV at the ventricle."""

    A4C = "A4C"
    A2C = "A2C"
    PLAX = "PLAX"
    PSAX = "PSAX"
    PSAX_LV = "PSAX_LV"

    @property
    def apical(self) -> bool:
        """Is the probe at the apex, which is then at the top of the picture?"""
        return self in (View.A4C, View.A2C)


def paint(view: View, moments: Moment[Column]) -> Canvas:
    """Draw the heart at F moments as a view shows it."""
    canvas = Canvas(len(moments.filling))
    PAINTERS[view](canvas, moments)
    return canvas


def _four_chambers(canvas: Canvas, now: Moment[Column]) -> None:
    """A4C: the right heart lies to the left of the septum."""
    middle = -(now.radius + now.wall + 1.1)
    _right_heart(canvas, now, middle)
    _left_heart(canvas, now)
    _valve(canvas, middle - 0.1, now.length - 0.1, 1.35, now.mitral)


def _two_chambers(canvas: Canvas, now: Moment[Column]) -> None:
    """A2C: the left heart alone, the atrial appendage at its right."""
    _chamber(canvas, Tissue.ATRIAL_WALL, 0.2, now.atrium + 0.4, now.length + 1.3, 0.55, 0.4)
    _left_heart(canvas, now)


def _chamber(
    canvas: Canvas, wall: Tissue, width: float, u: Value, v: Value, across: Value, along: Value,
    *arc: float,
) -> None:  # fmt: skip
    """An ellipse of blood around (u, v), or an arc of it, in a wall of some ``width``."""
    for margin, level in ((width, wall), (0.0, Tissue.BLOOD)):
        canvas.fill(ellipse(u, v, across + margin, along + margin, *arc), level)


def _left_heart(canvas: Canvas, now: Moment[Column]) -> None:
    canvas.fill(now.cavity(now.wall + 0.16, now.wall + 0.16), Tissue.PERICARDIUM)
    canvas.fill(now.cavity(now.wall, now.wall), Tissue.MUSCLE)
    middle, size = now.atrium_middle, now.atrium
    canvas.fill(ellipse(0, middle, size + 0.22, 1.15 * size + 0.22), Tissue.ATRIAL_WALL)
    back = ellipse(0, middle + 0.15, size + 0.1, 1.15 * size + 0.1, 0.6, 2.54)
    canvas.stroke(back, Tissue.PERICARDIUM, 0.3)
    canvas.fill(ellipse(0, middle, size, 1.15 * size), Tissue.BLOOD)
    canvas.fill(now.cavity(0.09, 0.09), Tissue.LINING)
    canvas.fill(now.cavity(), Tissue.BLOOD)
    _valve(canvas, 0.0, now.length, now.radius, now.mitral)


def _right_heart(canvas: Canvas, now: Moment[Column], middle: Column) -> None:
    base, arc = now.length, (3.1416, 2 * 3.1416)
    _chamber(canvas, Tissue.MUSCLE, 0.32, middle, base, 1.65, 0.66 * base, *arc)
    across = 1.55 + 0.35 * (1 - now.filling)
    _chamber(canvas, Tissue.ATRIAL_WALL, 0.22, middle - 0.2, base + 2.1, across, 1.85)


def _valve(canvas: Canvas, middle: Value, base: Column, reach: Value, opening: Column) -> None:
    """Two leaflets hinged at ``middle`` +- ``reach``: they meet, or hang into the ventricle."""
    for side in (-1, 1):
        tip = (middle + side * (0.03 + 0.6 * opening) * reach, base - 0.2 - 0.75 * reach * opening)
        bend = (middle + side * 0.75 * reach, base - 0.05 - 0.15 * opening)
        hinge = (middle + side * reach, base)
        canvas.stroke(curve(hinge, bend, tip), Tissue.VALVE, 0.15)


def _long_axis(canvas: Canvas, now: Moment[Column]) -> None:
    """PLAX: ventricle on its side, aortic root to the right, left atrium below it."""
    base = BASE - now.descent
    root = AXIS - now.radius + ROOT - 0.1
    floor = AXIS - now.radius - now.wall
    _chamber(canvas, Tissue.MUSCLE, 0.3, base - 0.8, floor - 0.55, 4.4, 0.85)
    size = now.atrium - 0.2
    _chamber(canvas, Tissue.PERICARDIUM, 0.2, base + 2.4, root + ROOT + size, 2.3, size)
    canvas.fill(_lying(now, base, now.wall + 0.18), Tissue.PERICARDIUM)
    canvas.fill(_lying(now, base, now.wall), Tissue.MUSCLE)
    canvas.fill(_root(base, root, ROOT + 0.18), Tissue.LINING)
    canvas.fill(_lying(now, base, 0.09), Tissue.LINING)
    canvas.fill(_root(base - 0.25, root, ROOT), Tissue.BLOOD)
    canvas.fill(_lying(now, base, 0.0), Tissue.BLOOD)
    _mitral(canvas, now, base, root + ROOT, AXIS + now.radius)
    _cusps_from_the_side(canvas, now, base + 0.3, root)


def _short_axis(canvas: Canvas, now: Moment[Column]) -> None:
    """PSAX at the aortic valve: the ring in the middle, right heart around it, atrium below."""
    middle = (0.2, 5.4 - 0.5 * now.descent)
    arc, size = (0.85 * math.pi, 2.08 * math.pi), 1.25 * now.atrium
    _chamber(canvas, Tissue.MUSCLE, 0.35, *middle, 3.1, 3.1, *arc)
    centre = middle[1] + ROOT + 0.3 + 0.75 * size
    _chamber(canvas, Tissue.ATRIAL_WALL, 0.2, 0.5, centre, size, 0.75 * size)
    canvas.stroke(curve((-0.6, 6.9), (-1.2, 7.8), (-1.5, 9.0)), Tissue.ATRIAL_WALL, 0.2)
    canvas.dot(*middle, ROOT + 0.22, Tissue.LINING)
    canvas.dot(*middle, ROOT, Tissue.BLOOD)
    _cusps_from_above(canvas, now, middle)


def _ventricle_short_axis(canvas: Canvas, now: Moment[Column]) -> None:
    """PSAX at the papillary muscles: a ring, the right ventricle a crescent beside it."""
    middle, radius = (0.3, 6.0), now.radius
    _chamber(canvas, Tissue.MUSCLE, 0.3, -2.0, 4.6, 2.7, 2.5)
    canvas.dot(*middle, radius + now.wall + 0.16, Tissue.PERICARDIUM)
    canvas.dot(*middle, radius + now.wall, Tissue.MUSCLE)
    canvas.dot(*middle, radius + 0.1, Tissue.LINING)
    canvas.dot(*middle, radius, Tissue.BLOOD)
    for side in (-1, 1):
        canvas.dot(middle[0] + side * 0.62 * radius, middle[1] + 0.62 * radius, 0.4, Tissue.MUSCLE)


def _lying(now: Moment[Column], base: Column, margin: Value) -> Path:
    """The cavity's outline turned on its side, its base at u = ``base``."""
    outline = now.cavity(margin, margin)
    return path_of(base - (now.length - outline[..., 1]), AXIS + outline[..., 0])


def _root(start: Column, middle: Column, half: float) -> Path:
    """The aortic root from the valve to the right, rising a little."""
    rise, end, top, bottom = 0.9, start + 6.5, middle - half, middle + half
    return corners((start, top), (end, top - rise), (end, bottom - rise), (start, bottom))


def _mitral(canvas: Canvas, now: Moment[Column], base: Column, front: Column, back: Column) -> None:
    """Leaflets between the root's floor and the posterior wall."""
    middle, open_ = (front + back) / 2, now.mitral
    tip = (base - 1.0 - 0.7 * open_, middle - (middle - front + 0.5) * open_)
    canvas.stroke(curve((base, front), (base - 0.7, front), tip), Tissue.VALVE, 0.15)
    tip = (base - 1.0 + 0.1 * open_, middle + 0.05 + (back - middle - 0.4) * open_)
    canvas.stroke(curve((base, back), (base - 0.5, back - 0.2), tip), Tissue.VALVE, 0.15)


def _cusp_level(now: Moment[Column]) -> int:
    return int(Tissue.VALVE + (Tissue.CALCIUM - Tissue.VALVE) * now.as_grade / 4)


def _cusps_from_the_side(
    canvas: Canvas, now: Moment[Column], start: Column, middle: Column
) -> None:
    """Two cusps: thin and wide open in health; thick, bright, lumpy and stiff in stenosis."""
    for side in (-1, 1):
        hinge = (start, middle + side * (ROOT - 0.05))
        tip = (start + 1.0, middle + side * (ROOT - 0.1) * now.aortic)
        bend = (start + 0.9, middle + side * 0.9 * ROOT)
        canvas.stroke(curve(hinge, bend, tip), _cusp_level(now), 0.12 + 0.09 * now.as_grade)
        if now.as_grade:
            canvas.dot(*tip, 0.13 * now.as_grade, _cusp_level(now))


def _cusps_from_above(canvas: Canvas, now: Moment[Column], middle: Point) -> None:
    """Three commissures: a star when closed; the orifice between them when open."""
    width, orifice = 0.12 + 0.08 * now.as_grade, (ROOT - 0.08) * now.aortic
    for angle in (math.pi / 2, math.pi * 7 / 6, -math.pi / 6):
        cosine, sine = math.cos(angle), math.sin(angle)
        inner, outer = (orifice * cosine, orifice * sine), (ROOT * cosine, ROOT * sine)
        ends = [(u + middle[0], v + middle[1]) for u, v in (inner, outer)]
        canvas.stroke(corners(*ends), _cusp_level(now), width)
        if now.as_grade:
            u, v = (0.6 * inner[axis] + 0.4 * outer[axis] + middle[axis] for axis in (0, 1))
            canvas.dot(u, v, 0.1 * now.as_grade, _cusp_level(now))
    ring = ellipse(*middle, orifice, orifice)
    canvas.stroke(ring, _cusp_level(now), width, at=orifice[:, 0] > 0.1)


PAINTERS: Mapping[View, Callable[[Canvas, Moment[Column]], None]] = {
    View.A4C: _four_chambers,
    View.A2C: _two_chambers,
    View.PLAX: _long_axis,
    View.PSAX: _short_axis,
    View.PSAX_LV: _ventricle_short_axis,
}
