"""Pictures: inside the sector only, repeatable, and with the motion that the labels say."""

from itertools import combinations

import numpy as np
import pytest

from echofm_core.phantom.anatomy import Moment, Pose, View, chamber_labels
from echofm_core.phantom.heart import Heart
from echofm_core.phantom.scanners import CAMUS, ECHONET, MIMIC, TMED, Scanner
from echofm_core.phantom.ultrasound import render

HEART = Heart(edv=120.0, ef=60.0, rate=60.0)
PHASES = np.array([0.0, 0.18, 0.36])


def cine(view: View = View.A4C, scanner: Scanner = ECHONET, seed: int = 0) -> np.ndarray:
    return render(HEART, view, Pose(), scanner, PHASES, np.random.default_rng(seed)).frames


@pytest.mark.parametrize("scanner", [ECHONET, CAMUS, *MIMIC, TMED])
def test_nothing_is_drawn_outside_the_sector(scanner: Scanner) -> None:
    frames = cine(scanner=scanner)
    x, z = scanner.pixel_grid()
    margin = 2 / scanner.pixels_per_cm  # interpolation reaches one pixel over the edge
    outside = (np.hypot(x, z) > scanner.depth + margin) | (z < -margin)
    assert frames.shape == (3, scanner.height, scanner.width)
    assert not frames[:, outside].any()
    assert frames[:, ~outside].any()


def test_the_same_stream_draws_the_same_picture() -> None:
    assert np.array_equal(cine(seed=4), cine(seed=4))
    assert not np.array_equal(cine(seed=4), cine(seed=5))


def test_the_cavity_is_dark_and_the_wall_is_bright() -> None:
    frame = cine()[0].astype(float)
    u, v = Pose().to_heart(*ECHONET.pixel_grid())
    labels = chamber_labels(Moment.of(HEART, 0.0), u, v)
    inside = (labels == 1) & (frame > 0)
    assert frame[labels == 2].mean() > 2 * frame[inside].mean()


def test_mask_area_gives_the_volume_by_the_area_length_formula() -> None:
    """8 A^2 / (3 pi L) from counted pixels; 3 % for pixel edges."""
    u, v = Pose().to_heart(*CAMUS.pixel_grid())
    for phase in PHASES:
        now = Moment.of(HEART, float(phase))
        area = (chamber_labels(now, u, v) == 1).sum() / CAMUS.pixels_per_cm**2
        volume = 8 * area**2 / (3 * np.pi * now.length)
        assert volume == pytest.approx(float(HEART.volume(np.asarray(phase))), rel=0.03)


def test_views_differ() -> None:
    pictures = {view: cine(view)[0].astype(float).ravel() for view in View}
    for first, second in combinations((View.A4C, View.PLAX, View.PSAX), 2):
        assert np.corrcoef(pictures[first], pictures[second])[0, 1] < 0.9


def test_the_right_heart_is_seen_in_four_chambers_only() -> None:
    """Beside the septum lies blood in A4C, and grey surroundings in A2C."""
    u, v = Pose().to_heart(*ECHONET.pixel_grid())
    now = Moment.of(HEART, 0.0)
    there = np.hypot(u + now.radius + now.wall + 1.25, v - 0.8 * now.length) < 0.6
    four, two = (cine(view)[0][there].mean() for view in (View.A4C, View.A2C))
    assert four < 0.6 * two


def test_speckle_is_coherent_from_frame_to_frame() -> None:
    """Two frames 10 ms apart are nearly the same, two scans of another patient's speckle not."""
    near = render(
        HEART, View.A4C, Pose(), ECHONET, np.array([0.5, 0.51]), np.random.default_rng(0)
    ).frames.astype(float)
    other = render(
        HEART, View.A4C, Pose(), ECHONET, np.array([0.5]), np.random.default_rng(1)
    ).frames.astype(float)
    mask = near[0] > 60
    coherent = np.corrcoef(near[0][mask], near[1][mask])[0, 1]
    assert coherent > 0.85 > np.corrcoef(near[0][mask], other[0][mask])[0, 1] + 0.1


@pytest.mark.parametrize("view", [View.PLAX, View.PSAX])
def test_a_calcified_valve_is_brighter(view: View) -> None:
    levels = []
    for grade in (0, 4):
        heart = Heart(edv=120, ef=60, rate=60, as_grade=grade)
        clip = render(heart, view, Pose(z=0.3), TMED, np.array([0.6]), np.random.default_rng(0))
        levels.append(int((clip.frames > 225).sum()))
    assert levels[1] > levels[0] + 20
