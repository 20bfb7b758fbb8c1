"""What is read of a run folder, and what of it is damaged, missing, or none of our business."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from echofm_core.live import run_data as module
from echofm_core.live.run_data import RunReader
from echofm_core.live.states import RunState
from echofm_core.runtime.errors import FederationError
from tests.live.made import add_tests, run_toy

#: Nothing else of a run folder is opened.
READ = {"live.json", "plan.toml", "evaluation.json", "sessions.json"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has ended; only to be read."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    run_toy(folder)
    add_tests(folder)
    return folder


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy of it, to be harmed."""
    for path in [*whole.glob("*.*"), *whole.glob("journal/*")]:
        copy = tmp_path / path.relative_to(whole)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
    return tmp_path


def test_a_finished_run_is_read_whole(whole: Path) -> None:
    data = RunReader(whole).read()
    assert (data.state, data.name, data.skipped) == (RunState.COMPLETED, "toy", ())
    assert [entry.round for entry in data.rounds] == [1, 2, 3]
    last = data.rounds[-1]
    assert set(last.sites) == {"north", "south"} and set(last.refused) == {"west-nan"}
    assert (last.loss, last.validation_loss) == pytest.approx((1 / 3, 2 / 3))
    assert [tested.site for tested in data.tests.sites] == ["north"]


def test_a_damaged_file_is_skipped_and_named_and_read_again_when_it_is_whole(run: Path) -> None:
    reader, entry = RunReader(run), run / "journal" / "pretrain-0002.json"
    assert len(reader.read().rounds) == 3
    text = entry.read_bytes()
    damage = {entry: text[:-20], run / "live.json": b"\xff", run / "evaluation.json": b"[]"}
    for path, content in damage.items():
        path.write_bytes(content)
    (run / "plan.toml").unlink()
    (run / "plan.toml").mkdir()
    data = reader.read()
    assert [entry.round for entry in data.rounds] == [1, 3]
    assert set(data.skipped) == {
        "journal/pretrain-0002.json is damaged, and is skipped",
        "live.json is damaged, and is skipped",
        "evaluation.json is damaged, and is skipped",
        "plan.toml cannot be read (IsADirectoryError), and is skipped",
    }
    entry.write_bytes(text)
    assert [entry.round for entry in reader.read().rounds] == [1, 2, 3]


def test_a_file_is_parsed_once_for_each_version(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    real = module._parsed

    def count(path: Path, parse: object) -> object:
        parsed.append(path.name)
        return real(path, parse)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_parsed", count)
    reader = RunReader(run)
    for _ in range(3):
        reader.read()
    assert sorted(parsed) == sorted(set(parsed)) and len(parsed) == 6


def test_only_files_without_a_patient_are_opened(run: Path) -> None:
    """Whatever else lies there, and whatever its name says."""
    for name in ("predictions/federated.parquet", "manifests/all.parquet", "findings.parquet"):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text("Doe^John")
    (run / "journal" / ".pretrain-0009.json.17").write_text("half of it")
    opened: list[str] = []

    def hook(event: str, args: tuple[object, ...]) -> None:
        if event == "open" and opened is not None and str(run) in str(args[0]):
            opened.append(str(Path(str(args[0])).relative_to(run)))

    sys.addaudithook(hook)
    data = RunReader(run).read()
    assert {name for name in opened if not name.startswith("journal/pretrain-")} <= READ
    assert len(opened) >= 6 and "Doe" not in repr(data)


def test_without_a_record_files_tell_how_an_older_run_ended(run: Path) -> None:
    (run / "live.json").unlink()
    reader = RunReader(run)
    data = reader.read()
    assert data.state is RunState.ORPHANED and "of its heartbeats, none" in data.why
    (run / "heartbeat").touch()
    assert reader.read().state is RunState.RUNNING
    (run / "heartbeat").unlink()
    (run / "summary.json").write_text("{}")
    assert reader.read().state is RunState.COMPLETED
    assert RunReader(run / "cache").read().state is None


def test_of_a_run_that_was_killed_the_heartbeat_tells(run: Path) -> None:
    record = json.loads((run / "live.json").read_bytes())
    (run / "live.json").write_text(json.dumps({**record, "state": "running"}))
    (run / "heartbeat").touch()
    reader = RunReader(run)
    assert reader.read().state is RunState.RUNNING
    old = time.time() - 60
    (run / "live.json").write_text(json.dumps({**record, "state": "running", "begun": old}))
    os.utime(run / "heartbeat", (old, old))
    data = reader.read()
    assert data.state is RunState.ORPHANED and "the last 60 s ago" in data.why


def test_a_run_that_failed_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> None:
        raise FederationError("pretrain round 1 has 1 usable update, federation.min_sites is 2.")

    monkeypatch.setattr("tests.live.made.train_phase", fail)
    with pytest.raises(FederationError):
        run_toy(tmp_path / "run")
    data = RunReader(tmp_path / "run").read()
    assert data.state is RunState.FAILED and "federation.min_sites is 2" in data.why
