from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from echofm_core.data.formats.timeline import Timeline

timelines = st.builds(
    Timeline,
    length=st.integers(1, 300),
    fps=st.none() | st.floats(1, 200),
    frames=st.sampled_from([2, 8, 16]),
    seconds=st.sampled_from([0.0, 0.5, 1.3, 4.0]),
)


def test_a_second_at_ten_frames_a_second() -> None:
    """By hand: 1 s at 10 Hz is 10 intervals; 6 even times are 0, 2, 4 ... 10 frames apart."""
    line = Timeline(length=31, fps=10.0, frames=6, seconds=1.0)
    first, middle, last = line.cover(3)
    assert first.indices.tolist() == [0, 2, 4, 6, 8, 10]
    assert middle.indices.tolist() == [10, 12, 14, 16, 18, 20]
    assert last.indices.tolist() == [20, 22, 24, 26, 28, 30]
    np.testing.assert_allclose(first.times, [0, 0.2, 0.4, 0.6, 0.8, 1.0], rtol=1e-6)


def test_the_same_seconds_at_another_rate() -> None:
    """By hand: at 20 Hz the same second spans 20 intervals, so frames are 4 apart."""
    pick = Timeline(length=21, fps=20.0, frames=6, seconds=1.0).cover(1)[0]
    assert pick.indices.tolist() == [0, 4, 8, 12, 16, 20]
    np.testing.assert_allclose(pick.times, [0, 0.2, 0.4, 0.6, 0.8, 1.0], rtol=1e-6)


def test_a_short_clip_is_played_forth_and_back() -> None:
    """By hand: 4 frames hold 3 intervals; 8 intervals of 10 Hz go 0 1 2 3 2 1 0 1 2."""
    line = Timeline(length=4, fps=10.0, frames=9, seconds=0.8)
    assert line.mirrored
    assert line.cover(3)[0].indices.tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert len(line.cover(3)) == 1
    np.testing.assert_allclose(line.cover(1)[0].times, np.arange(9) / 10, rtol=1e-6)


def test_one_window_sits_in_the_middle() -> None:
    """By hand: 20 intervals, 10 of them in a window: 5 remain on either side."""
    pick = Timeline(length=21, fps=10.0, frames=6, seconds=1.0).cover(1)[0]
    assert pick.indices.tolist() == [5, 7, 9, 11, 13, 15]


def test_unknown_rate_spans_the_clip_and_scales_times() -> None:
    """By hand: 31 frames, 4 of them: 0, 10, 20, 30; 1.3 s in three equal steps."""
    pick = Timeline(length=31, fps=None, frames=4, seconds=1.3).cover(3)[0]
    assert pick.indices.tolist() == [0, 10, 20, 30]
    np.testing.assert_allclose(pick.times, [0, 1.3 / 3, 2.6 / 3, 1.3], rtol=1e-6)


def test_whole_clip_keeps_true_times() -> None:
    pick = Timeline(length=31, fps=10.0, frames=4, seconds=0).cover(3)[0]
    assert pick.indices.tolist() == [0, 10, 20, 30]
    np.testing.assert_allclose(pick.times, [0, 1, 2, 3], rtol=1e-6)


@settings(max_examples=150, deadline=None)
@given(line=timelines, most=st.integers(1, 5), seed=st.integers(0, 2**32))
def test_every_window_is_legal(line: Timeline, most: int, seed: int) -> None:
    picks = [*line.cover(most), line.draw(np.random.default_rng(seed))]
    assert 1 <= len(picks) - 1 <= most
    for pick in picks:
        assert pick.indices.shape == pick.times.shape == (line.frames,)
        assert pick.indices.min() >= 0
        assert pick.indices.max() < line.length
        assert pick.times[0] == 0
        assert (np.diff(pick.times) >= 0).all()
        if not line.mirrored:
            assert (np.diff(pick.indices) >= 0).all()
        if line.fps is not None and not line.whole:
            assert pick.times[-1] == pytest.approx(line.seconds, abs=1.01 / line.fps)


@settings(max_examples=60, deadline=None)
@given(length=st.integers(20, 300), fps=st.floats(10, 100))
def test_test_windows_leave_no_gap(length: int, fps: float) -> None:
    """With as many windows as they ask for, each frame lies in the span of one of them."""
    line = Timeline(length=length, fps=fps, frames=8, seconds=0.5)
    assume(not line.mirrored)
    seen = np.zeros(length, dtype=bool)
    for pick in line.cover(10_000):
        seen[pick.indices.min() : pick.indices.max() + 1] = True
    assert seen.all()


def test_training_starts_are_random_and_repeatable() -> None:
    line = Timeline(length=200, fps=50.0, frames=8, seconds=1.0)
    starts = {int(line.draw(np.random.default_rng(seed)).indices[0]) for seed in range(30)}
    assert len(starts) > 20
    again = line.draw(np.random.default_rng(3)).indices
    np.testing.assert_array_equal(again, line.draw(np.random.default_rng(3)).indices)


def test_uneven_frames_are_taken_at_even_times() -> None:
    """By hand: five frames at 0, 20, 80, 100 and 160 ms; half the clip's 160 ms in three times.

    Windows begin at 0 and at 80 ms and ask for 0, 40, 80 and for 80, 120, 160 ms: nearest are the
    frames of 0, 20, 80 and of 80, 100, 160 ms.
    """
    times = np.array([0, 0.02, 0.08, 0.1, 0.16])
    line = Timeline(length=5, fps=25.0, frames=3, seconds=0.08, times=times)
    first, last = line.cover(2)
    assert first.indices.tolist() == [0, 1, 2]
    assert last.indices.tolist() == [2, 3, 4]
    np.testing.assert_allclose(first.times, [0, 0.02, 0.08], atol=1e-6)
    np.testing.assert_allclose(last.times, [0, 0.02, 0.08], atol=1e-6)


def test_an_uneven_clip_that_is_too_short_is_played_forth_and_back() -> None:
    """By hand: 240 ms of 160: 0, 60, 120, then 180 and 240 fall on 140 and 80 ms of the way back.

    Nearest to 140 ms is the frame of 160 ms, which on the way back is shown at 160 ms too.
    """
    times = np.array([0, 0.02, 0.08, 0.1, 0.16])
    line = Timeline(length=5, fps=25.0, frames=5, seconds=0.24, times=times)
    pick = line.cover(1)[0]
    assert pick.indices.tolist() == [0, 2, 3, 4, 2]
    np.testing.assert_allclose(pick.times, [0, 0.08, 0.1, 0.16, 0.24], atol=1e-6)


def test_a_whole_uneven_clip_has_its_own_times() -> None:
    times = np.array([0, 0.02, 0.08, 0.1, 0.16])
    pick = Timeline(length=5, fps=25.0, frames=5, seconds=0, times=times).cover(1)[0]
    np.testing.assert_allclose(pick.times, times, atol=1e-6)


@given(timelines)
def test_even_times_change_nothing(line: Timeline) -> None:
    """But where a time is halfway between two frames, which rounding may send either way."""
    assume(line.fps is not None and line.length > 2)
    times = np.arange(line.length) / line.fps
    given = replace(line, times=times)
    for plain, timed in zip(line.cover(3), given.cover(3), strict=True):
        assert np.abs(plain.times - timed.times).max() <= 1.001 / line.fps
