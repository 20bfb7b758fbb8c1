"""Frames that are damaged, and times that are uneven."""

from __future__ import annotations

import numpy as np
import pytest

from echofm_core.data.cine import assemble, text_of, times_of, timing_of


def frame(value: int, side: int = 4) -> np.ndarray:
    return np.full((side, side), value, np.uint8)


def assembled(values: list[int | None]) -> tuple[list[int], slice, int]:
    pictures = (None if value is None else frame(value) for value in values)
    frames, which, notes = assemble(pictures, len(values))
    return frames[:, 0, 0].tolist(), which, len(notes)


@pytest.mark.parametrize(
    ("values", "shown", "which", "notes"),
    [
        ([1, 2, 3], [1, 2, 3], slice(0, 3), 0),
        ([1, 2, None, 4, 5, 6], [1, 2, 2, 4, 5, 6], slice(0, 6), 1),
        ([None, 2, 3, None], [2, 3], slice(1, 3), 0),  # at the ends
        ([1, None, 3, None, 5], [1], slice(0, 1), 0),  # two of five are too many
        ([1, 2, 3, 4, 5, 6, None, None, 9], [1, 2, 3, 4, 5, 6, 6, 6, 9], slice(0, 9), 1),
    ],
)
def test_a_damaged_frame_is_the_one_before(
    values: list[int | None], shown: list[int], which: slice, notes: int
) -> None:
    assert assembled(values) == (shown, which, notes)


def test_not_one_whole_frame() -> None:
    with pytest.raises(ValueError, match="whole"):
        assembled([None, None])


def test_even_times_are_none() -> None:
    """29.97 a second, written in whole milliseconds."""
    assert timing_of(np.round(np.arange(60) / 29.97, 3), 29.97) == (29.97, None)
    assert timing_of(np.array([]), 30.0) == (30.0, None)
    assert timing_of(np.zeros(9), 30.0) == (30.0, None)
    assert timing_of(np.array([0.0, 0.1, 0.05, 0.2]), 30.0) == (30.0, None)  # they do not rise


def test_uneven_times_give_the_mean_rate() -> None:
    """Steps of 20 and 60 ms, four of each: 8 in 320 ms."""
    fps, times = timing_of(np.cumsum([7.0, *[0.02, 0.06] * 4]), 50.0)
    assert fps == pytest.approx(25)
    assert times is not None
    np.testing.assert_allclose(times, np.cumsum([0, *[0.02, 0.06] * 4]))
    np.testing.assert_allclose(times_of(str(text_of(times))), times, atol=1e-5)
    assert text_of(None) is None
