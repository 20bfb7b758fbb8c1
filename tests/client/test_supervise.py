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


def test_waits_double_up_to_a_minute_and_begin_anew_after_a_node_that_was_well(
    clock: Clock,
) -> None:
    """The fourth start is within 90 s of the first end, and later than a lost node is missed."""
    lives = [1.0, 0, 0, 0, 0, 0, 300, 0, 0]
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
    assert clock.waits == [5, 10, 20, 40, 60, 60, 5, 10]
    assert 60 < starts[4] - 1 < 90
    assert "exit code 7" in shown[0] and "again in 5 s" in shown[0]


def test_what_no_start_mends_ends_it_at_once(clock: Clock) -> None:
    with pytest.raises(FederationError, match="no"):
        supervise(lambda: 1, lambda: FederationError("no."), lambda words: None)
    assert clock.waits == []
