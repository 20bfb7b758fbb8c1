"""Nodes that die, and come back, over a grid that lists who is there as Flower's does."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from echofm_core.runtime.checksum import digest
from server import presence, pulled_replies
from server.events import Event
from tests.federation.remote import RemoteGrid
from tests.federation.toy_phase import folded, train

NAMES = ("a", "b", "c")
#: Seconds that a dead site would cost, if it were waited for.
DEADLINE = 300.0


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulled_replies, "POLL", 0.01)
    monkeypatch.setattr(presence, "WATCH", 0.02)
    monkeypatch.setattr(presence, "RETURN", 0.05)


def test_a_dead_site_is_given_up_once_and_let_back_in(tmp_path: Path) -> None:
    """b dies 0.2 s into round 1, is not asked in round 2, and is there again for round 3."""
    grid = RemoteGrid({"a": 0.0, "b": 3600.0, "c": 0.3})

    def come_back(event: Event) -> None:
        if event.round == 2:
            grid.gone.clear()
            grid.delays = dict.fromkeys(NAMES, 0.0)
            time.sleep(0.1)  # until the list is looked at again

    threading.Timer(0.2, lambda: grid.gone.add("b")).start()
    started = time.monotonic()
    _, entries = train(
        grid, NAMES, tmp_path, rounds=3, deadline_seconds=DEADLINE, on_event=come_back
    )
    assert time.monotonic() - started < DEADLINE / 5
    assert [set(entry.sites) for entry in entries] == [{"a", "c"}, {"a", "c"}, {"a", "b", "c"}]
    for entry in entries[:2]:
        (why,) = entry.refused.values()
        assert why.startswith("its node is gone since 20") and why.endswith(" UTC.")
    assert grid.asked == [*"abc", *"ac", *"abc"]


def test_a_node_that_is_back_just_after_a_round_takes_part_in_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """b is found gone after 0.2 s, which ends round 1, and is there again half a second later."""
    monkeypatch.setattr(presence, "RETURN", 5.0)
    grid = RemoteGrid({"a": 0.0, "b": 3600.0, "c": 0.0})

    def come_back(event: Event) -> None:
        if event.round == 1:
            grid.delays = dict.fromkeys(NAMES, 0.0)
            threading.Timer(0.5, grid.gone.clear).start()

    threading.Timer(0.2, lambda: grid.gone.add("b")).start()
    _, entries = train(
        grid, NAMES, tmp_path, rounds=2, deadline_seconds=DEADLINE, on_event=come_back
    )
    assert [set(entry.sites) for entry in entries] == [{"a", "c"}, {"a", "b", "c"}]


def test_a_node_that_stays_away_is_waited_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Round 2 waits for RETURN; the 20 rounds after it together for less than ten times that."""
    monkeypatch.setattr(presence, "RETURN", 2.0)
    grid = RemoteGrid({"a": 0.0, "b": 3600.0, "c": 0.0})
    threading.Timer(0.2, lambda: grid.gone.add("b")).start()
    _, entries = train(grid, NAMES, tmp_path, rounds=22, deadline_seconds=DEADLINE)
    assert {tuple(entry.sites) for entry in entries} == {("a", "c")}
    assert entries[1].seconds > 1.0
    assert sum(entry.seconds for entry in entries[2:]) < 20


def test_a_short_deadline_is_not_spent_on_a_node_that_has_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 4 s, 3 stay for the sites that are there, which answer after one."""
    monkeypatch.setattr(presence, "RETURN", 60.0)
    grid = RemoteGrid({"a": 1.0, "b": 3600.0, "c": 1.0})
    threading.Timer(0.2, lambda: grid.gone.add("b")).start()
    _, entries = train(grid, NAMES, tmp_path, rounds=2, deadline_seconds=4.0)
    assert [set(entry.sites) for entry in entries] == [{"a", "c"}, {"a", "c"}]


def test_a_site_that_was_gone_between_two_looks_is_asked_again(tmp_path: Path) -> None:
    """Flower gives no node a message twice: what was asked before is never answered."""
    grid = RemoteGrid({"a": 0.0, "b": 3600.0, "c": 0.0})

    def fast(event: Event) -> None:
        grid.delays = dict.fromkeys(NAMES, 0.0)

    threading.Timer(0.2, lambda: grid.sessions.update(b="later")).start()
    started = time.monotonic()
    _, entries = train(grid, NAMES, tmp_path, deadline_seconds=DEADLINE, on_event=fast)
    assert time.monotonic() - started < DEADLINE / 5
    assert entries[0].refused == {
        "b": "its node was gone meanwhile; it takes part again in the next round."
    }
    assert set(entries[1].sites) == set(NAMES)


def test_what_a_node_sent_before_it_went_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """b answers after 0.2 s and goes after 0.3 s; its answer is looked for after 0, 0.6, ... s."""
    monkeypatch.setattr(pulled_replies, "POLL", 0.6)
    grid = RemoteGrid({"a": 0.0, "b": 0.2, "c": 0.0})
    threading.Timer(0.3, lambda: grid.sessions.update(b="later")).start()
    _, entries = train(grid, NAMES, tmp_path, rounds=1, deadline_seconds=DEADLINE)
    assert entries[0].digest == digest(folded(NAMES))


def test_a_quorum_is_waited_for_until_nodes_come_back(tmp_path: Path) -> None:
    grid = RemoteGrid(dict.fromkeys(NAMES, 0.0))
    grid.gone.update("bc")
    threading.Timer(0.3, grid.gone.clear).start()
    _, entries = train(grid, NAMES, tmp_path, rounds=1, deadline_seconds=DEADLINE, min_sites=3)
    assert set(entries[0].sites) == set(NAMES)
