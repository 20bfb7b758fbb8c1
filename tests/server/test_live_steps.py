"""A run's record while rounds go on, from the true loop over toy sites."""

from __future__ import annotations

import errno
import time
from dataclasses import replace
from pathlib import Path

import pytest

from echofm_core.live import record as module
from echofm_core.live.record import LiveRecord, LiveRun, live_run
from echofm_core.live.states import Doing, RunState
from echofm_core.run_claim import HEARTBEAT, LIVE
from echofm_core.runtime.errors import FederationError
from server import pulled_replies
from server.events import Event, EventKind
from server.live_steps import LiveListener, SiteStep, asked
from tests.federation.remote import RemoteGrid
from tests.federation.toy_phase import train

PHASES = {"pretrain": 2, "finetune": 3}


def read(folder: Path) -> LiveRecord:
    return LiveRecord.model_validate_json((folder / LIVE).read_bytes())


class Story:
    """A listener that keeps the states of all sites after each step."""

    def __init__(self, folder: Path, model: str = "federated") -> None:
        self.live = LiveRun(folder, PHASES)
        self.live.expect("federated", "pooled")
        self.listener = LiveListener(self.live, model)
        self.told: list[dict[str, str]] = []

    def live_states(self) -> dict[str, str]:
        with self.live.change() as record:
            return {name: record.sites[name].state.value for name in sorted(record.sites)}

    def step(self, step: SiteStep) -> None:
        self.listener.step(step)
        self.told.append(self.live_states())


def test_who_has_answered_shows_before_the_turn_of_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``b`` answers while ``a``, which is before it in name order, still trains."""
    monkeypatch.setattr(pulled_replies, "POLL", 0.01)
    story = Story(tmp_path)
    train(RemoteGrid({"a": 0.4, "b": 0.0}), "ab", tmp_path, rounds=1, on_step=story.step)
    assert story.told[0] == {"a": "training", "b": "training"}
    assert story.told[1] == {"a": "training", "b": "answered"}
    assert story.told[-1] == {"a": "answered", "b": "answered"}


def test_a_refused_and_a_late_site_are_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulled_replies, "POLL", 0.01)
    story = Story(tmp_path)
    train(
        RemoteGrid({"a": 0.0, "nan": 0.0, "slow": 600.0}), ("a", "nan", "slow"), tmp_path,
        rounds=1, on_step=story.step, on_event=story.listener.event,
        deadline_seconds=3.0, min_sites=1,
    )  # fmt: skip
    story.live.flush()
    found = read(tmp_path)
    assert {name: site.state.value for name, site in found.sites.items()} == {
        "a": "answered", "nan": "refused", "slow": "gone",
    }  # fmt: skip
    assert "no reply within 3 s" in found.sites["slow"].why and "finite" in found.sites["nan"].why
    assert found.sites["slow"].seen is None and found.sites["nan"].seen is not None
    model = found.models["federated"]
    assert (model.doing, model.round, model.rounds) == ("pretrain", 1, 1)
    assert found.spent["pretrain"][0] == 1 and found.first <= found.last


def test_of_models_that_the_run_is_compared_with_no_site_is_kept(tmp_path: Path) -> None:
    story = Story(tmp_path, model="pooled")
    told = {"phase": "pretrain", "rounds": 2, "replayed": True}
    story.listener.event(Event(kind=EventKind.ROUND, round=1, sites=("a",), **told))  # type: ignore[arg-type]
    story.step(asked(Doing.PRETRAIN, ["a"]))
    story.live.flush()
    found = read(tmp_path)
    assert found.sites == {} and found.models["pooled"].left == {"pretrain": 1, "finetune": 3}
    assert found.spent == {}, "a round from the journal says nothing of how long one takes"


def test_a_site_that_never_came_is_absent_and_one_that_went_is_gone(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.listener.event(Event(kind=EventKind.WAITING, sites=("a", "b")))
    assert story.live_states() == {"a": "absent", "b": "absent"}
    late = {"b": "it has not come yet, and may join later."}
    described = Event(kind=EventKind.DESCRIBED, sites=("a", "c"), refused=late)
    story.listener.event(replace(described, quarantined={"a": 3}))
    assert story.live_states() == {"a": "ready", "b": "absent", "c": "ready"}
    away = {"b": "it has not come yet.", "c": "its node is gone."}
    story.step(asked(Doing.FINETUNE, ["a"], away, 1, 3))
    assert story.told[-1] == {"a": "training", "b": "absent", "c": "gone"}
    story.listener.event(Event(kind=EventKind.ROUND, phase="finetune", sites=("a",), refused=away))
    story.listener.event(Event(kind=EventKind.JOINED, sites=("b",)))
    assert story.live_states() == {"a": "training", "b": "ready", "c": "gone"}
    story.live.flush()
    found = read(tmp_path)
    assert (found.sites["a"].quarantined, found.sites["c"].why) == (3, "its node is gone.")
    assert found.models["federated"].left["pretrain"] == 0, "fine-tuning has begun"


def test_the_record_ends_with_what_ended_the_run(tmp_path: Path) -> None:
    with (
        pytest.raises(FederationError),
        live_run(tmp_path, PHASES) as live,
    ):
        assert (read(tmp_path).state, (tmp_path / HEARTBEAT).exists()) == (RunState.RUNNING, True)
        live.say("writing the report")
        assert read(tmp_path).doing == "writing the report"
        raise FederationError("too few sites are there.")
    found = read(tmp_path)
    assert (found.state, found.why) == (RunState.FAILED, "too few sites are there.")
    assert not (tmp_path / HEARTBEAT).exists()
    with pytest.raises(KeyError), live_run(tmp_path, PHASES):
        raise KeyError("Doe^John")
    assert read(tmp_path).why == "the run met a bug (KeyError)"
    with pytest.raises(OSError, match="No space"), live_run(tmp_path, PHASES):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert "a full disk (No space left on device)" in read(tmp_path).why
    with live_run(tmp_path, PHASES):
        pass
    assert (read(tmp_path).state, read(tmp_path).why) == (RunState.COMPLETED, "")


def test_changes_are_written_at_most_once_a_beat_and_without_a_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[dict[str, object]] = []
    real = module.write_whole

    def write(path: Path, content: bytes, **options: object) -> Path:
        written.append(options)
        return real(path, content, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "write_whole", write)
    with live_run(tmp_path, PHASES) as live:
        begun = time.monotonic()
        for number in range(2000):
            with live.change() as record:
                record.earlier = number
        beats = time.monotonic() - begun
        assert len(written) <= 2 + beats
        deadline = time.monotonic() + 20
        while read(tmp_path).earlier != 1999:
            assert time.monotonic() < deadline, "the last change is not in the file"
            time.sleep(0.05)
    assert all(options == {"durable": False} for options in written)


def test_a_folder_that_refuses_the_record_does_not_end_the_run(tmp_path: Path) -> None:
    live = LiveRun(tmp_path / "run", PHASES)
    (tmp_path / "run").write_text("a file where the folder should be")
    live.say("training")
    assert (tmp_path / "run").read_text().startswith("a file")
