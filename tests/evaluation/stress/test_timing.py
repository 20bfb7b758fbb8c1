"""Which stored frames a clip shows after a change of its timing, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from echofm_core.data.formats.timeline import Timeline
from echofm_core.evaluation.stress.timing import dropped, slower

RNG = np.random.default_rng(0)


def timeline(length: int = 9, times: np.ndarray | None = None) -> Timeline:
    return Timeline(length=length, fps=40.0, frames=3, seconds=0.1, times=times)


def test_a_fourth_of_the_frame_rate_is_every_fourth_frame_at_its_own_time() -> None:
    """Nine frames at 40 Hz become 0, 4 and 8 at 10 Hz. A window of 0.1 s is then one interval:
    the first of three covers times 0, 0.05 and 0.1 s, of which 0.05 rounds up to the second."""
    found, shown = slower(timeline(), 4.0, RNG)
    assert shown.tolist() == [0, 4, 8]
    assert (found.length, found.fps) == (3, 10.0)
    pick = found.cover(2)[0]
    assert shown[pick.indices].tolist() == [0, 4, 4]
    np.testing.assert_allclose(pick.times, [0, 0.1, 0.1])


def test_uneven_times_are_those_of_the_frames_that_are_left() -> None:
    times = np.array([0.0, 0.02, 0.06, 0.07, 0.1])
    found, _ = slower(timeline(5, times), 2.0, RNG)
    assert found.times is not None
    assert found.times.tolist() == [0.0, 0.06, 0.1]


@pytest.mark.parametrize(("length", "left"), [(1, [0]), (2, [0, 1]), (5, [0, 4])])
def test_a_short_clip_keeps_its_ends(length: int, left: list[int]) -> None:
    assert slower(timeline(length), 8.0, RNG)[1].tolist() == left


def test_a_lost_frame_shows_the_one_before() -> None:
    """The draws say which frames are lost at a half: those below it; the first never is."""
    draws = np.random.default_rng(3).random(9)
    found, shown = dropped(timeline(), 0.5, np.random.default_rng(3))
    expected, last = [], 0
    for frame, draw in enumerate(draws):
        last = frame if draw >= 0.5 else last
        expected.append(last)
    assert shown.tolist() == expected
    assert len(set(expected)) < 9
    assert found == timeline(), "the times stay"
    fewer = dropped(timeline(), 0.25, np.random.default_rng(3))[1]
    assert set(expected) <= set(fewer.tolist()), "what is kept at a half is kept at a quarter"


def test_nothing_changes_at_the_neutral_strength() -> None:
    for change, neutral in ((slower, 1.0), (dropped, 0.0)):
        found, shown = change(timeline(), neutral, np.random.default_rng(0))
        assert found == timeline()
        assert shown.tolist() == list(range(9))
