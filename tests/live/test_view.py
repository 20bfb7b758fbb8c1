"""A run in words, from data by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from echofm_core.contract import Phase
from echofm_core.live.clock import clock
from echofm_core.live.record import LiveRecord, ModelRecord, SiteRecord
from echofm_core.live.run_data import Round, RunData, RunReader, SitePart
from echofm_core.live.states import Doing, RunState, SiteState
from echofm_core.live.view import Presence, View, view_of
from tests.live.made import add_tests

NOW = 1_000_000.0
LEFT = {"pretrain": 0, "finetune": 7}


def data(tmp_path: Path, **changes: Any) -> RunData:
    """Fine-tuning is in round 4 of 10; a round took 20 s, and the last one ended 5 s ago."""
    model = ModelRecord(doing=Doing.FINETUNE, round=4, rounds=10, since=NOW - 5, left=LEFT)
    record = LiveRecord(
        begun=NOW - 100,
        earlier=30.0,
        first=NOW - 65,
        last=NOW - 5,
        phases={"pretrain": 2, "finetune": 10},
        spent={"finetune": (3, 60.0)},
        models={"federated": model},
        sites={
            "north": SiteRecord(state=SiteState.ANSWERED, seen=NOW, quarantined=3),
            "south": SiteRecord(state=SiteState.TRAINING),
            "west": SiteRecord(state=SiteState.REFUSED, why="\x1b[2Jits update is too far."),
        },
    )
    part = SitePart(counts={"encoder": 10}, metrics={"loss": 0.5, "epsilon": 1.25})
    rounds = tuple(
        Round(phase=Phase.FINETUNE, round=number, plan_hash="ab" * 32, sites={"north": part})
        for number in (1, 2, 3)
    )
    found = replace(
        RunReader(tmp_path).read(), state=RunState.RUNNING, record=record, rounds=rounds, now=NOW
    )
    return replace(found, **changes)


def table(view: View, caption: str) -> list[dict[str, str]]:
    (found,) = [table.grid for table in view.tables if table.caption.startswith(caption)]
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


def test_the_sentence_says_whom_a_round_waits_for(tmp_path: Path) -> None:
    view = view_of(data(tmp_path))
    said = "Fine-tuning, round 4 of 10: 1 site has answered, waiting for south."
    assert (view.state, view.sentence, view.over) == ("running", said, False)
    assert dict(view.facts)["elapsed"] == "2 min", "30 s before, 100 s now"


def test_time_left_is_what_was_done_in_how_long_and_what_is_left(tmp_path: Path) -> None:
    """Three rounds in 60 s; seven are left, and 5 s of the next are gone: 140 s - 5 s."""
    found = data(tmp_path)
    assert clock(found).left == pytest.approx(135)
    assert (clock(found).done, clock(found).total) == (5, 12)
    assert found.record is not None
    found.record.models["pooled"] = ModelRecord(left={"pretrain": 2, "finetune": 10})
    assert clock(found).left == pytest.approx((7 + 10) * 20 - 5), (
        "what is not measured is not in it"
    )
    assert clock(found).unknown == ("pretrain",)
    assert dict(view_of(found).facts)["time left"] == "about 6 min, then pre-training"
    assert clock(replace(found, state=RunState.FAILED)).left is None
    found.record.spent = {}
    assert dict(view_of(found).facts)["time left"] == "not known before a round is over"


def test_sites_have_state_losses_epsilon_and_files_and_no_control_characters(
    tmp_path: Path,
) -> None:
    rows = {row["site"]: row for row in table(view_of(data(tmp_path)), "Sites")}
    north = rows["north"]
    assert (north["state"], north["loss"], north["epsilon spent"]) == ("answered", "0.5000", "1.25")
    assert north["unusable files"] == "3"
    assert rows["west"]["reason"] == r"\x1b[2Jits update is too far."
    over = view_of(data(tmp_path, state=RunState.FAILED, why="too few sites."))
    assert {row["site"]: row["state"] for row in table(over, "Sites")}["south"] == "unanswered"
    assert (over.state, over.sentence, over.over) == ("failed", "too few sites.", True)


def test_a_site_whose_node_has_gone_is_said_while_its_answer_is_awaited(tmp_path: Path) -> None:
    presence = {
        "north": Presence(online=False, seen=NOW),
        "south": Presence(online=False, seen=NOW - 50),
        "east": Presence(online=False, seen=None),
    }
    rows = {row["site"]: row["state"] for row in table(view_of(data(tmp_path), presence), "Sites")}
    assert rows == {"east": "absent", "north": "answered", "south": "gone", "west": "refused"}


def test_losses_become_curves_and_what_is_private_is_none(tmp_path: Path) -> None:
    found = data(tmp_path)
    (curve,) = view_of(found).curves
    assert "epsilon spent" in table(view_of(found), "Sites")[0]
    assert curve.points == ((1, 0.5, None), (2, 0.5, None), (3, 0.5, None))
    silent = SitePart(counts={"encoder": 10}, metrics={"epsilon": 1.25})
    rounds = tuple(entry.model_copy(update={"sites": {"north": silent}}) for entry in found.rounds)
    assert view_of(replace(found, rounds=rounds)).curves == ()
    assert "loss" not in table(view_of(replace(found, rounds=rounds)), "Sites")[0], "nobody has one"


def test_a_test_at_the_sites_shows_headline_metrics_alone(tmp_path: Path) -> None:
    add_tests(tmp_path)
    rows = table(view_of(data(tmp_path, tests=RunReader(tmp_path).read().tests)), "Test")
    assert rows == [
        {
            "site": "north", "metric": "EF MAE (points)", "value": "6.2",
            "interval": "5.0 to 7.5", "patients": "40",
        },
        {
            "site": "south", "metric": "not tested: it did not answer within 5 s.", "value": "",
            "interval": "", "patients": "",
        },
    ]  # fmt: skip


def test_one_reason_of_one_site_is_one_row(tmp_path: Path) -> None:
    found = data(tmp_path)
    whys = ({"west": "too far."}, {"west": "late."}, {"west": "too far."})
    rounds = tuple(
        entry.model_copy(update={"refused": why})
        for entry, why in zip(found.rounds, whys, strict=True)
    )
    rows = table(view_of(replace(found, rounds=rounds)), "Updates that did not count")
    assert [(row["last round"], row["rounds"], row["reason"]) for row in rows] == [
        ("3", "2", "too far."), ("2", "1", "late."),
    ]  # fmt: skip


def test_many_sites_and_rounds_are_cut_with_a_word(tmp_path: Path) -> None:
    found = data(tmp_path)
    assert found.record is not None
    found.record.sites = {f"s{n:04}": SiteRecord(state=SiteState.READY) for n in range(900)}
    rounds = tuple(found.rounds[0].model_copy(update={"round": n}) for n in range(1, 101))
    view = view_of(replace(found, rounds=rounds))
    assert len(table(view, "Sites, the first 200 of 900")) == 200
    newest = table(view, "Rounds, newest first; 70 older ones are in the journal")
    assert (newest[0]["round"], len(newest)) == ("100", 30)


def test_a_folder_without_a_run_waits_for_one(tmp_path: Path) -> None:
    view = view_of(RunReader(tmp_path).read())
    assert (view.state, view.over, view.tables) == ("waiting", False, ())
