"""The views a probe can take, and who draws each."""

from collections.abc import Callable, Mapping
from enum import StrEnum

from echofm_core.phantom import apical, parasternal
from echofm_core.phantom.anatomy import Column, Moment
from echofm_core.phantom.canvas import Canvas


class View(StrEnum):
    """Standard transthoracic views; PSAX is at the aortic valve, PSAX_LV at the ventricle."""

    A4C = "A4C"
    A2C = "A2C"
    PLAX = "PLAX"
    PSAX = "PSAX"
    PSAX_LV = "PSAX_LV"

    @property
    def apical(self) -> bool:
        """Is the probe at the apex?"""
        return self in (View.A4C, View.A2C)


PAINTERS: Mapping[View, Callable[[Canvas, Moment[Column]], None]] = {
    View.A4C: apical.four_chambers,
    View.A2C: apical.two_chambers,
    View.PLAX: parasternal.long_axis,
    View.PSAX: parasternal.short_axis,
    View.PSAX_LV: parasternal.ventricle_short_axis,
}


def paint(view: View, moments: Moment[Column]) -> Canvas:
    """Draw the heart at F moments as a view shows it."""
    canvas = Canvas(len(moments.filling))
    PAINTERS[view](canvas, moments)
    return canvas
