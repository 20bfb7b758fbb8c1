"""Sites that come late, decline, or approve late, over a grid that behaves like a network."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from echofm_core.runtime.errors import FederationError
from server import presence, pulled_replies, reception, sites
from server.ending import RunOptions
from server.events import Event, EventKind, ignore
from server.reception import Reception
from server.rounds import run_federation
from server.run import Run
from server.sites import gather, gather_sites
from tests.federation.remote import RemoteGrid
from tests.federation.small import small_plan

MEMBERS = {"a": 1, "b": 2, "c": 3}


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulled_replies, "POLL", 0.01)
    monkeypatch.setattr(presence, "WATCH", 0.02)
    monkeypatch.setattr(sites, "INTERVAL", 0.05)
    monkeypatch.setattr(reception, "AGAIN", 0.1)


def federate(folder: Path, **federation: object) -> tuple[list[dict[str, Any]], list[Event]]:
    """Four rounds and a test, and journal entries and events; c comes when round 1 is over.

    A round lasts long enough to hear c's answer to the question that is asked as it begins.
    """
    grid = RemoteGrid({"a": 0.3, "b": 0.0, "c": 0.0})
    grid.gone.add("c")
    events: list[Event] = []

    def show(event: Event) -> None:
        events.append(event)
        if event.round_done:
            grid.gone.clear()

    plan = small_plan(
        pretrain={"rounds": 4},
        finetune={"rounds": 0},
        federation={"min_sites": 2, "gather_seconds": 0.2, **federation},
    )
    started = time.monotonic()
    options = RunOptions(members=MEMBERS)
    result = run_federation(grid, plan, folder / "run", on_event=show, options=options)
    assert time.monotonic() - started < 100
    assert list(result.sites) == list(MEMBERS)
    journal = sorted((folder / "run" / "journal").iterdir())
    return [json.loads(path.read_text()) for path in journal], events


def test_a_member_that_comes_late_is_not_waited_for_and_joins(tmp_path: Path) -> None:
    entries, events = federate(tmp_path)
    assert [set(entry["sites"]) for entry in entries[:2]] == [{"a", "b"}] * 2
    assert set(entries[3]["sites"]) == set(MEMBERS)
    assert entries[0]["refused"] == {"c": "it has not come yet."} and not entries[3]["refused"]
    (described,) = [event for event in events if event.kind is EventKind.DESCRIBED]
    assert described.refused == {"c": "it has not come yet, and may join later."}
    (joined,) = [event for event in events if event.kind is EventKind.JOINED]
    assert joined.line() == "c came late, and can take part from pretrain round 3/4 on"


def test_with_scaffold_a_late_site_waits_for_the_next_phase(tmp_path: Path) -> None:
    """The control variate is the mean over those with whom the phase began."""
    entries, events = federate(tmp_path, aggregation="scaffold")
    assert [set(entry["sites"]) for entry in entries] == [{"a", "b"}] * 4
    assert entries[3]["refused"] == {"c": "it came late, and takes part from the next phase on."}
    (joined,) = [event for event in events if event.kind is EventKind.JOINED]
    assert joined.line() == "c came late, and can take part from the next phase on"


def test_a_run_that_everybody_declines_ends_at_once(tmp_path: Path) -> None:
    run = Run(RemoteGrid({"declines": 0.0, "declines too": 0.0}), small_plan(), tmp_path)
    started = time.monotonic()
    with pytest.raises(FederationError, match=r"not approved here; node 2: .*; have it approved"):
        gather_sites(run, ignore, members={"a": 1, "b": 2})
    assert time.monotonic() - started < 60


def test_a_site_that_approves_late_is_asked_again(tmp_path: Path) -> None:
    """Two have to be there, and b's policy declines at first."""
    grid = RemoteGrid({"a": 0.0, "declines": 0.0})
    run = Run(grid, small_plan(federation={"min_sites": 2}), tmp_path)
    events: list[Event] = []
    threading.Timer(0.4, lambda: grid.rename("declines", "b")).start()
    found = gather_sites(run, events.append, members={"a": 1, "b": 2})
    assert list(found) == ["a", "b"]
    assert events[-1].kind is EventKind.DESCRIBED and not events[-1].refused


def test_a_site_whose_answer_was_an_error_is_asked_again(tmp_path: Path) -> None:
    """b's disk was full, or its settings wrong, and its people have mended that meanwhile."""
    grid = RemoteGrid({"a": 0.0, "broken": 0.0})
    run = Run(grid, small_plan(federation={"min_sites": 2}), tmp_path)
    threading.Timer(0.4, lambda: grid.rename("broken", "b")).start()
    started = time.monotonic()
    found = gather_sites(run, ignore, members={"a": 1, "b": 2}, wait_seconds=60)
    assert list(found) == ["a", "b"] and time.monotonic() - started < 50


def test_a_site_that_approves_during_a_phase_takes_part_in_the_next(tmp_path: Path) -> None:
    """c declines until the first phase is over; it is asked again as the second one begins."""
    grid = RemoteGrid({"a": 0.0, "b": 0.0, "declines": 0.0})

    def approve(event: Event) -> None:
        if event.round_done and event.phase == "pretrain":
            time.sleep(2 * reception.AGAIN)
            grid.rename("declines", "c")

    plan = small_plan(
        pretrain={"rounds": 1},
        finetune={"rounds": 1, "tasks": ["ef"]},
        federation={"min_sites": 2},
    )
    options = RunOptions(members=MEMBERS)
    run_federation(grid, plan, tmp_path / "run", on_event=approve, options=options)
    tuned, pretrained = (
        json.loads((tmp_path / "run" / "journal" / f"{phase}-0001.json").read_text())
        for phase in ("finetune", "pretrain")
    )
    assert pretrained["refused"]["c"].endswith("not approved here.")
    assert set(tuned["sites"]) == set(MEMBERS) and not tuned["refused"]


def test_a_name_is_taken_over_from_a_node_that_is_gone_and_from_no_other(tmp_path: Path) -> None:
    """Without keys a node has another number each time that it starts."""
    grid = RemoteGrid({"a": 0.0, "b": 0.0, "c": 0.0})
    grid.gone.add("c")
    here = Reception(Run(grid, small_plan(federation={"min_sites": 2}), tmp_path))
    gather(here, ignore)
    grid.gone.clear()
    grid.rename("c", "b")
    look_until(here, lambda: here.refused)
    assert here.refused["node 3"].startswith("two nodes call themselves b")
    assert here.sites["b"].node == 2
    grid.rename("b", "lost")
    grid.gone.add("lost")
    back, deadline = set[str](), time.monotonic() + 60
    while here.sites["b"].node != 3 and time.monotonic() < deadline:
        back |= set(here.look(wait=0.05))
    assert here.sites["b"].node == 3 and "b" in back, "what it says of itself is written down"


def look_until(here: Reception, reached: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        here.look(wait=0.05)


def test_a_node_that_hangs_does_not_hold_up_a_quorum(tmp_path: Path) -> None:
    """c is listed, and never says who it is."""
    grid = RemoteGrid({"a": 0.0, "b": 0.0, "c": 3600.0})
    plan = small_plan(federation={"min_sites": 2, "gather_seconds": 0.3})
    started = time.monotonic()
    assert list(gather_sites(Run(grid, plan, tmp_path), ignore, members=MEMBERS)) == ["a", "b"]
    assert time.monotonic() - started < 60
