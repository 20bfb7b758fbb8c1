from __future__ import annotations

import pytest

from client import supervise as supervising
from client.supervise import supervise
from echofm_core.runtime.errors import FederationError


class Clock:
    """Time that passes only where somebody waits."""

    def __init__(self) -> None:
        self.now, self.waits = 0.0, list[float]()

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(supervising, "time", made)
    return made


def test_a_lost_node_is_started_until_it_is_let_in_and_then_ever_later(clock: Clock) -> None:
    """Nodes that are refused run 3 s each, so that starts are 8 s apart: one falls within 8 s of
    any moment of the first 90 s. Then 10, 20, 40 and 60 s, and anew after one that ran 300 s."""
    lives = [200.0, *[3.0] * 16, 300.0, 3.0, 3.0]
    starts: list[float] = []
    shown: list[str] = []

    def run() -> int:
        starts.append(clock.now)
        clock.now += lives[len(starts) - 1]
        return 7

    def fault() -> FederationError | None:
        return FederationError("the key is unknown.") if len(starts) == len(lives) else None

    with pytest.raises(FederationError, match="the key is unknown"):
        supervise(run, fault, shown.append)
    # 12 starts of 8 s: 8 x 12 = 96 s after the first end is the first one beyond 90 s.
    assert clock.waits == [5.0] * 12 + [10, 20, 40, 60, 60] + [5, 5]
    since = [start - 200 for start in starts[1:13]]
    assert since == [5.0 + 8 * number for number in range(12)]
    assert "exit code 7" in shown[0] and "again in 5 s" in shown[0]


def test_a_node_that_is_lost_soon_after_its_start_is_one_that_was_well(clock: Clock) -> None:
    """Killed 40 s after the command began: the 90 s of short waits count from then."""
    lives = iter([40.0, *[3.0] * 14])
    left = iter(range(15))

    def run() -> int:
        clock.now += next(lives)
        return 137

    def fault() -> FederationError | None:
        return FederationError("no.") if next(left) == 14 else None

    with pytest.raises(FederationError, match="no"):
        supervise(run, fault, lambda words: None)
    assert clock.waits == [5.0] * 12 + [10, 20]


def test_a_node_that_never_was_well_waits_ever_longer_too(clock: Clock) -> None:
    left = iter(range(40))

    def fault() -> FederationError | None:
        return FederationError("no.") if next(left) == 39 else None

    with pytest.raises(FederationError, match="no"):
        supervise(lambda: 1, fault, lambda words: None)
    assert clock.waits[:3] == [5, 5, 5] and clock.waits[-3:] == [60, 60, 60]


def test_what_no_start_mends_ends_it_at_once(clock: Clock) -> None:
    with pytest.raises(FederationError, match="no"):
        supervise(lambda: 1, lambda: FederationError("no."), lambda words: None)
    assert clock.waits == []
