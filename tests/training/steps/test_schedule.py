import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echofm_core.training.steps.schedule import RoundSchedule


def test_values_by_hand() -> None:
    """Peak 8, warm-up 2 of 6 rounds: a line to (2, 8), then half a cosine over 4 rounds.

    Half way down (progress 4) the cosine is at its middle, 4; a quarter down (progress 3) at
    8 * (1 + cos(pi / 4)) / 2 = 4 + 2 * sqrt(2).
    """
    schedule = RoundSchedule(peak=8.0, warmup_rounds=2.0, rounds=6)
    assert schedule.at(0) == 0
    assert schedule.at(1) == 4
    assert schedule.at(2) == 8
    assert schedule.at(3) == pytest.approx(4 + 2 * math.sqrt(2))
    assert schedule.at(4) == pytest.approx(4)
    assert schedule.at(6) == pytest.approx(0)


def test_a_step_is_taken_at_its_middle_and_rounds_do_not_restart() -> None:
    """Round 2 with 4 steps: middles at 1.125, 1.375, ... of the same line to (2, 8)."""
    schedule = RoundSchedule(peak=8.0, warmup_rounds=2.0, rounds=6)
    assert [schedule.of_step(2, step, 4) for step in range(4)] == [4.5, 5.5, 6.5, 7.5]
    assert schedule.of_step(3, 0, 4) < 8
    assert schedule.of_step(6, 3, 4) > 0


def test_without_warmup_and_with_nothing_but_warmup() -> None:
    assert RoundSchedule(peak=1.0, warmup_rounds=0.0, rounds=2).at(0) == 1
    assert RoundSchedule(peak=1.0, warmup_rounds=2.0, rounds=2).at(2) == 1
    assert RoundSchedule(peak=1.0, warmup_rounds=4.0, rounds=2).at(2) == 0.5


@given(
    warmup=st.floats(0, 5),
    rounds=st.integers(1, 50),
    steps=st.integers(1, 9),
    data=st.data(),
)
def test_always_positive_and_never_above_the_peak(
    warmup: float, rounds: int, steps: int, data: st.DataObject
) -> None:
    round_ = data.draw(st.integers(1, rounds))
    step = data.draw(st.integers(0, steps - 1))
    rate = RoundSchedule(peak=1.0, warmup_rounds=warmup, rounds=rounds).of_step(round_, step, steps)
    assert 0 < rate <= 1
