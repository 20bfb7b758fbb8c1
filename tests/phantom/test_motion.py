"""What moves beside the heart: only what its range says, and nothing where that is nothing."""

import numpy as np
import pytest

from echofm_core.phantom.anatomy import Moment, Pose, chamber_labels
from echofm_core.phantom.heart import Heart, draw_beats
from echofm_core.phantom.motion import USUAL, MotionRange, draw_motion
from echofm_core.phantom.moving import render_moving
from echofm_core.phantom.scanners import CAMUS, ECHONET
from echofm_core.phantom.views import View

HEART = Heart(edv=120.0, ef=60.0, rate=75.0)
SECONDS = np.arange(40) / 50.0
LONG = np.arange(88) / 50.0


def test_a_range_of_nothing_moves_nothing() -> None:
    filling = np.linspace(1, 0, 40)
    motion = draw_motion(MotionRange(), SECONDS, filling, np.random.default_rng(3))
    for still in (motion.x, motion.z, motion.turn, motion.out, motion.gain):
        assert not np.any(still)
    for same in (motion.wide, motion.long, motion.zoom, motion.beams):
        assert np.all(same == 1)
    assert motion.pose(Pose(x=0.4), 39) == Pose(x=0.4)


@pytest.mark.parametrize("name", ["breathing", "slide", "tilt", "tremor", "rocking", "sweep"])
def test_each_range_moves_the_picture_by_itself(name: str) -> None:
    """The same beat, speckle and noise: only what moves differs, and later frames with it."""
    clips = []
    for range_ in (MotionRange(), MotionRange(**{name: 0.8})):
        rng = np.random.default_rng(5)
        beats = HEART.phase(SECONDS, 0.0), np.ones(40)
        motion = draw_motion(range_, SECONDS, HEART.filling(beats[0]), np.random.default_rng(6))
        clips.append(render_moving(HEART, View.A4C, Pose(), ECHONET, beats, motion, rng).frames)
    assert not np.array_equal(clips[0][-1], clips[1][-1])


def test_the_same_stream_draws_the_same_cine() -> None:
    def cine(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        beats = draw_beats(HEART, SECONDS, 0.1, rng)
        motion = draw_motion(USUAL, SECONDS, HEART.filling(beats[0]), rng)
        return render_moving(HEART, View.A2C, Pose(), ECHONET, beats, motion, rng).frames

    assert np.array_equal(cine(1), cine(1))
    assert not np.array_equal(cine(1), cine(2))


def test_beats_of_one_length_are_the_regular_rhythm_and_strengths_are_one() -> None:
    phases, strength = draw_beats(HEART, SECONDS, 0.0, np.random.default_rng(0))
    steps = np.diff(phases) % 1.0
    assert steps == pytest.approx(np.full(39, 0.02 * 75 / 60))
    assert strength == pytest.approx(np.ones(40))


def test_a_beat_after_a_long_pause_is_stronger() -> None:
    seconds = np.arange(0, 60, 0.02)
    phases, strength = draw_beats(HEART, seconds, 0.2, np.random.default_rng(2))
    starts = np.flatnonzero(np.diff(phases) < 0) + 1
    lengths = np.diff(starts)
    after = strength[starts[1:]]
    assert np.corrcoef(lengths, after)[0, 1] > 0.9
    assert 0.9 < strength.mean() < 1.1


@pytest.mark.parametrize("regional", [-0.6, 0.3, 0.6])
def test_a_wall_that_moves_less_leaves_the_volume(regional: float) -> None:
    """Area-weighted half-widths: the mean of both squared is that of an even ventricle; and the
    mask of the picture has one side wider than the other."""
    heart = Heart(edv=120.0, ef=60.0, rate=60.0, regional=regional)
    for phase in (0.0, 0.2, 0.36):
        uneven, even = Moment.of(heart, phase), Moment.of(HEART, phase)
        outline, usual = uneven.cavity(), even.cavity()
        left, right = outline[:32, 0][::-1], outline[32:, 0]
        assert (left**2 + right**2) / 2 == pytest.approx(usual[32:, 0] ** 2)
        u, v = Pose().to_heart(*CAMUS[0].pixel_grid())
        cavity = chamber_labels(uneven, u, v) == 1
        sides = (cavity & (u > 0)).sum() / (cavity & (u < 0)).sum()
        assert np.sign(sides - 1) == np.sign(regional) or phase == 0.0
    assert sides > 1.1 or sides < 0.9


def test_masks_follow_the_outline_of_an_uneven_wall() -> None:
    """Each pixel of the cavity lies between the walls that the outline draws."""
    now = Moment.of(Heart(edv=120.0, ef=60.0, rate=60.0, regional=0.5), 0.36)
    u, v = Pose().to_heart(*CAMUS[0].pixel_grid())
    cavity = chamber_labels(now, u, v) == 1
    outline = now.cavity()
    left = np.interp(v[cavity], outline[:32, 1][::-1], outline[:32, 0][::-1])
    right = np.interp(v[cavity], outline[32:, 1], outline[32:, 0])
    assert (u[cavity] > left - 0.1).all() and (u[cavity] < right + 0.1).all()


def test_a_pose_and_its_inverse_agree_where_the_plane_misses_the_axis() -> None:
    pose = Pose(turn=0.2, x=0.5, z=2.0, wide=0.8, long=0.7)
    u, v = np.array([1.0, -2.0], np.float32), np.array([3.0, 5.0], np.float32)
    again = pose.to_heart(*pose.to_plane(u, v))
    assert again[0] == pytest.approx(u, abs=1e-5) and again[1] == pytest.approx(v, abs=1e-5)


def test_what_the_plane_shows_of_a_beat_is_nearly_the_exact_ef() -> None:
    """A reader who traces the ventricle without error in each frame, and averages over the beats by
    least squares on the usual filling. Volumes as of the area-length formula: area squared over
    length, so wide squared times long. R2 is .96; with five times the sweep of the plane it is
    -.29: the pictures do not show the EF that they are labelled with."""
    truth, traced = [], []
    for number in range(150):
        rng = np.random.default_rng(number)
        heart = Heart(edv=120.0, ef=float(rng.uniform(25, 70)), rate=float(rng.uniform(60, 95)))
        filling = heart.filling(draw_beats(heart, LONG, 0.03, rng)[0])
        motion = draw_motion(USUAL, LONG, filling, rng)
        shown = (heart.esv + (heart.edv - heart.esv) * filling) * motion.wide**2 * motion.long
        slope, end = np.polyfit(filling, shown, 1)
        truth.append(heart.ef)
        traced.append(100 * slope / (slope + end))
    errors = np.subtract(truth, traced)
    assert 1 - np.mean(errors**2) / np.var(truth) > 0.9
