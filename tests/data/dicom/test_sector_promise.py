"""No pixel of an overlay beside the sector survives, and at least 98 % of the sector does.

On phantoms, whose sector is known from the scanner's geometry, with text, depth marks, a grey bar
and a sweeping ECG burnt in. Without a declared region the whole frame is searched.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from echofm_core.data.dicom.sector import find_sector
from echofm_core.phantom.heart import draw_heart
from echofm_core.phantom.overlay import burn_in
from echofm_core.phantom.patients import examine
from echofm_core.phantom.scanners import ECHONET, MIMIC, Scanner
from echofm_core.phantom.views import View
from echofm_core.phantom.writers import dicom

#: Both machines of Boston, one of a Vivid E95's picture size, and a small wide one.
SCANNERS = {
    "first": (MIMIC[0], 0),
    "second": (MIMIC[1], 1),
    "large": (
        replace(MIMIC[0], height=708, width=1016, apex=(508, 70), radius=588, half_angle=0.7),
        0,
    ),
    "small": (replace(ECHONET, height=240, width=320, apex=(160, 8), radius=210), 1),
}


def true_sector(scanner: Scanner) -> NDArray[np.bool_]:
    """Within the opening angle and the depth, by the definition of a sector."""
    x, z = scanner.pixel_grid()
    inside = (np.abs(np.arctan2(x, z)) <= scanner.half_angle) & (np.hypot(x, z) <= scanner.depth)
    return np.asarray(inside & (z >= 0), dtype=bool)


@pytest.mark.parametrize("name", SCANNERS)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("declared", [False, True])
def test_overlay_goes_and_the_sector_stays(name: str, seed: int, declared: bool) -> None:
    scanner, machine = SCANNERS[name]
    rng = np.random.default_rng(seed)
    view = (View.A4C, View.PLAX, View.PSAX)[seed]
    clip = examine(draw_heart(rng, 55, 12), view, scanner, 24, rng).clip
    burnt = burn_in(clip.frames, clip.phases, scanner, machine)
    grey = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in burnt])
    sector = true_sector(scanner)
    overlay = (grey > clip.frames).any(axis=0) & ~sector
    assert overlay.sum() > 500
    box = dicom.region(scanner, dicom.TISSUE)
    region = (
        box.RegionLocationMinX0,
        box.RegionLocationMinY0,
        box.RegionLocationMaxX1 + 1,
        box.RegionLocationMaxY1 + 1,
    )
    found = find_sector(grey, region if declared else None)
    assert found is not None
    assert not (found & overlay).any()
    assert (found & sector).sum() >= 0.98 * sector.sum()
    assert (found & ~sector).sum() <= 0.03 * sector.sum()  # and little else comes with it
