"""Plain progress lines, as a log gets them: how far, since when, how much longer."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from echofm_core.runtime import console
from echofm_core.runtime.console import progress


class Clock:
    """A clock that a test sets."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(console, "time", made)
    return made


def test_a_line_now_and_then_with_the_time_left(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """One item a second: lines after 10, 20, 30 s; 190, 180, 170 of 200 are left."""
    with progress("decoding", 200) as meter:
        for _ in range(30):
            clock.now += 1
            meter.advance()
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "decoding: 10/200 (10 s, 3 min left)",
        "decoding: 20/200 (20 s, 3 min left)",
        "decoding: 30/200 (30 s, 3 min left)",
    ]


def test_what_was_done_before_does_not_flatter_the_estimate(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """900 items at once, then one a second: 70 s later 30 are left, at that pace 30 s.

    By the average since the start it would be 2 s.
    """
    with progress("decoding", 1000) as meter:
        meter.advance(900)
        for _ in range(70):
            clock.now += 1
            meter.advance()
    assert capsys.readouterr().out.splitlines()[-1] == "decoding: 970/1000 (70 s, 30 s left)"


def test_what_was_before_the_work_is_not_in_the_clock(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """40 of 100 were found done, and a start took 60 s; then one item in 5 s, 58 are left after 10.

    With the start in it, it would be 42 items in 70 s, or 2 in 70 s.
    """
    with progress("training", 100) as meter:
        meter.advance(40)
        clock.now += 60
        for _ in range(2):
            meter.begin()  # once is enough
            clock.now += 5
            meter.advance()
    assert capsys.readouterr().out == "training: 42/100 (10 s, 5 min left)\n"


def test_a_bar_begins_anew_with_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its column of the time left is made of what is done from then on."""
    monkeypatch.setattr(console.sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(console, "console", Console(file=io.StringIO(), force_terminal=True))
    with progress("training", 100) as meter:
        meter.advance(40)
        (task,) = meter._progress.tasks
        before = task.start_time
        meter.begin()
        assert task.start_time > before and task.completed == 40


def test_the_last_line_says_how_long_it_took(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("decoding", 3) as meter:
        clock.now += 4
        meter.advance(3, note="site a")
    assert capsys.readouterr().out == "decoding site a: 3/3 (4 s)\n"


@pytest.mark.parametrize(
    ("items", "left"), [(30, "20 s"), (200, "3 min"), (7010, "1 h 57 min"), (21600, "6 h 00 min")]
)
def test_spans_are_as_people_say_them(
    clock: Clock, capsys: pytest.CaptureFixture[str], items: int, left: str
) -> None:
    with progress("x", items) as meter:
        clock.now += 10
        meter.advance(10)
    assert f", {left} left)" in capsys.readouterr().out
