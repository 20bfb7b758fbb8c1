"""Sites that become slow, over a grid that behaves like a network."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from echofm_core.contract import Weights
from echofm_core.runtime.checksum import digest
from server import presence, pulled_replies
from server.events import Event
from server.journal import Entry
from server.replies import Pace, Patience
from tests.federation.remote import RemoteGrid
from tests.federation.toy_phase import folded_each, train

NAMES = ("a", "b", "c")


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulled_replies, "POLL", 0.01)
    monkeypatch.setattr(presence, "WATCH", 0.05)


def trained(folder: Path, slow: float, **federation: Any) -> tuple[Weights, list[Entry]]:
    """Two rounds; after the first, in which all answer at once, c takes so many seconds."""
    grid = RemoteGrid(dict.fromkeys(NAMES, 0.0))

    def slower(event: Event) -> None:
        grid.delays = {"a": 0.0, "b": 0.1, "c": slow}

    limits = {"deadline_seconds": 300, "straggler_seconds": 0.3, "min_sites": 2, **federation}
    return train(grid, NAMES, folder, on_event=slower, **limits)


def test_a_site_that_takes_longer_than_it_promised_is_dropped_by_name(tmp_path: Path) -> None:
    started = time.monotonic()
    weights, entries = trained(tmp_path, 3600, stragglers="drop")
    assert time.monotonic() - started < 60
    assert set(entries[0].sites) == set(NAMES)
    (why,) = entries[1].refused.values()
    assert why == (
        "dropped after 0 s: its last answers took 0 s, and the others are there "
        "(federation.stragglers)."
    )
    assert digest(weights) == digest(folded_each([NAMES, ("a", "b")]))


@pytest.mark.parametrize(
    "federation",
    [
        {},
        {"stragglers": "wait"},
        {"stragglers": "drop", "min_sites": 3},
        {"stragglers": "drop", "straggler_seconds": 60},
    ],
)
def test_it_is_waited_for_otherwise(federation: dict[str, Any], tmp_path: Path) -> None:
    """Until it comes: by default, where it is needed for the quorum, and for the least time."""
    weights, _ = trained(tmp_path, 0.8, **federation)
    assert digest(weights) == digest(folded_each([NAMES, NAMES]))


def test_a_site_has_a_multiple_of_what_its_last_answers_took() -> None:
    """Of 10, 30 and 20 s the median is 20; three times that is 60, twice it 40."""
    took = {"b": [10.0, 30.0, 20.0], "c": [1.0]}
    assert Pace(factor=3, least=5).seconds(took["b"]) == 60
    assert Pace(factor=3, least=5).seconds(took["c"]) == 5
    begun = time.monotonic() - 50
    pace = Pace(factor=2, least=5)
    patience = Patience(seconds=3600, started=begun, pace=pace, enough=lambda: True)
    assert set(patience.dropped(["a", "b", "c"], took)) == {"b", "c"}, "a has not answered yet"
    pace = Pace(factor=3, least=5)
    patience = Patience(seconds=3600, started=begun, pace=pace, enough=lambda: True)
    assert set(patience.dropped(["a", "b", "c"], took)) == {"c"}
