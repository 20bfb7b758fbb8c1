"""Pictures: inside the sector only, repeatable, and with the motion that the labels say."""

from itertools import combinations

import numpy as np
import pytest

from echofm_core.phantom.anatomy import Moment, Pose, chamber_labels
from echofm_core.phantom.heart import Heart
from echofm_core.phantom.scanners import CAMUS, ECHONET, MIMIC, TMED, Scanner
from echofm_core.phantom.ultrasound import render
from echofm_core.phantom.views import View, paint

HEART = Heart(edv=120.0, ef=60.0, rate=60.0)
PHASES = np.array([0.0, 0.18, 0.36])


def cine(view: View = View.A4C, scanner: Scanner = ECHONET, seed: int = 0) -> np.ndarray:
    return render(HEART, view, Pose(), scanner, PHASES, np.random.default_rng(seed)).frames


@pytest.mark.parametrize("scanner", [ECHONET, *CAMUS, *MIMIC, TMED])
def test_nothing_is_drawn_outside_the_sector(scanner: Scanner) -> None:
    frames = cine(scanner=scanner)
    x, z = scanner.pixel_grid()
    margin = 2 / min(scanner.pixels_per_cm)  # interpolation reaches one pixel over the edge
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
    u, v = Pose().to_heart(*CAMUS[0].pixel_grid())
    for phase in PHASES:
        now = Moment.of(HEART, float(phase))
        area = (chamber_labels(now, u, v) == 1).sum() / np.prod(CAMUS[0].pixels_per_cm)
        volume = 8 * area**2 / (3 * np.pi * now.length)
        assert volume == pytest.approx(float(HEART.volume(np.asarray(phase))), rel=0.03)


def test_labels_are_those_of_the_ellipses() -> None:
    """Distances at every pixel, whether it can be inside or not."""
    u, v = Pose(turn=0.1, x=0.5).to_heart(*CAMUS[0].pixel_grid())
    now = Moment.of(HEART, 0.2)
    below = v - now.length
    expected = np.zeros(u.shape, int)
    for label, radius, length in (
        (2, now.radius + now.wall, now.length + now.wall),
        (1, now.radius, now.length),
    ):
        expected[(np.hypot(u / radius, below / length) < 1) & (below < 0)] = label
    atrium = np.hypot(u / now.atrium, (v - now.atrium_middle) / (1.15 * now.atrium))
    expected[(atrium < 1) & (below > 0.15)] = 3
    assert np.array_equal(chamber_labels(now, u, v), expected)
    assert set(np.unique(expected)) == {0, 1, 2, 3}


@pytest.mark.parametrize("view", View)
@pytest.mark.parametrize("grade", [0, 3])
def test_many_moments_are_drawn_as_each_alone(view: View, grade: int) -> None:
    """Phases with the valves shut, opening and open."""
    heart = Heart(edv=120.0, ef=60.0, rate=60.0, as_grade=grade)
    phases = np.array([0.0, 0.1, 0.18, 0.5, 0.7])
    together = paint(view, Moment.over(heart, phases))
    for number, phase in enumerate(phases):
        alone = paint(view, Moment.over(heart, np.array([phase])))
        assert np.array_equal(together.board(number), alone.board(0))
        assert Moment.over(heart, phases).each()[number] == Moment.of(heart, phase)


def test_a_heart_that_stands_still_is_drawn_as_if_it_had_just_moved() -> None:
    """From 0.66 to 0.86 of a beat nothing moves; speckle, and the noise of a third frame, are those
    of the stream, whatever the second frame showed."""
    waited, moved = (
        render(HEART, View.A4C, Pose(), ECHONET, np.array(phases), np.random.default_rng(0)).frames
        for phases in ([0.1, 0.7, 0.75], [0.1, 0.1, 0.75])
    )
    assert np.array_equal(waited[2], moved[2])
    assert not np.array_equal(waited[1], moved[1])


def test_views_differ() -> None:
    pictures = {view: cine(view)[0].astype(float).ravel() for view in View}
    for first, second in combinations((View.A4C, View.PLAX, View.PSAX), 2):
        assert np.corrcoef(pictures[first], pictures[second])[0, 1] < 0.9


def test_the_right_heart_is_seen_in_four_chambers_only() -> None:
    """Left of the septum, at the base, A4C shows the tricuspid valve; A2C shows nothing."""
    u, v = Pose().to_heart(*ECHONET.pixel_grid())
    now = Moment.of(HEART, 0.0)
    there = np.hypot(u + now.radius + now.wall + 1.1, v - now.length) < 0.8
    four, two = (cine(view)[0][there].mean() for view in (View.A4C, View.A2C))
    assert four > 2 * two


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


@pytest.mark.parametrize(("view", "u", "v"), [(View.PLAX, 1.6, 5.2), (View.PSAX, 0.2, 5.4)])
def test_a_calcified_valve_is_brighter_grade_by_grade(view: View, u: float, v: float) -> None:
    """Mean grey within 1.3 cm of the closed valve, over ten patients' speckle."""
    pose = Pose(z=0.3)
    across, along = pose.to_heart(*TMED.pixel_grid())
    there = np.hypot(across - u, along - v) < 1.3
    levels = []
    for grade in (0, 2, 4):
        heart = Heart(edv=120, ef=60, rate=60, as_grade=grade)
        clips = [
            render(heart, view, pose, TMED, np.array([0.6]), np.random.default_rng(seed))
            for seed in range(10)
        ]
        levels.append(np.mean([clip.frames[0][there].mean() for clip in clips]))
    assert levels[0] * 1.08 < levels[1] and levels[1] * 1.08 < levels[2]
