"""Apical views: the apex at the top, the atria at the bottom."""

from echofm_core.phantom.anatomy import Column, Moment
from echofm_core.phantom.canvas import Canvas, Tissue, Value, curve, ellipse


def four_chambers(canvas: Canvas, now: Moment[Column]) -> None:
    """A4C: the right heart lies to the left of the septum."""
    middle = -(now.radius + now.wall + 1.1)
    _right_heart(canvas, now, middle)
    _left_heart(canvas, now)
    _valve(canvas, middle - 0.1, now.length - 0.1, 1.35, now.mitral)


def two_chambers(canvas: Canvas, now: Moment[Column]) -> None:
    """A2C: the left heart alone, the atrial appendage at its right."""
    canvas.fill(ellipse(now.atrium + 0.4, now.length + 1.3, 0.75, 0.6), Tissue.ATRIAL_WALL)
    canvas.fill(ellipse(now.atrium + 0.4, now.length + 1.3, 0.55, 0.4), Tissue.BLOOD)
    _left_heart(canvas, now)


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
    reach = 0.66 * now.length
    for margin, level in ((0.32, Tissue.MUSCLE), (0.0, Tissue.BLOOD)):
        outline = ellipse(middle, now.length, 1.65 + margin, reach + margin, 3.1416, 2 * 3.1416)
        canvas.fill(outline, level)
    for margin, level in ((0.22, Tissue.ATRIAL_WALL), (0.0, Tissue.BLOOD)):
        across = 1.55 + 0.35 * (1 - now.filling) + margin
        canvas.fill(ellipse(middle - 0.2, now.length + 2.1, across, 1.85 + margin), level)


def _valve(canvas: Canvas, middle: Value, base: Column, reach: Value, opening: Column) -> None:
    """Two leaflets hinged at ``middle`` +- ``reach``: they meet, or hang into the ventricle."""
    for side in (-1, 1):
        tip = (middle + side * (0.03 + 0.6 * opening) * reach, base - 0.2 - 0.75 * reach * opening)
        bend = (middle + side * 0.75 * reach, base - 0.05 - 0.15 * opening)
        hinge = (middle + side * reach, base)
        canvas.stroke(curve(hinge, bend, tip), Tissue.VALVE, 0.15)
