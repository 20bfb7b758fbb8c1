"""What the ServerApp looks at before it asks any site."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from flwr.app import Context, RecordDict
from flwr.serverapp import Grid

from echofm_core.plan.document import Plan
from echofm_core.run_claim import HEARTBEAT, held
from echofm_core.runtime.errors import OutputError, ResumeError
from echofm_core.runtime.file_lock import file_lock
from server.app import app


def test_a_run_is_completed_when_all_of_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file of the run folder, and each folder's names, were synced before the last words."""
    run, watched = tmp_path / "run", tmp_path / "watched.jsonl"
    synced: dict[str, bool] = {}

    def fsync(opened: int) -> None:
        synced[str(Path(f"/proc/self/fd/{opened}").readlink())] = "done" in watched.read_text()

    def train(*args: object, **options: object) -> SimpleNamespace:
        assert (run / HEARTBEAT).exists()
        for name in ("journal/finetune-0001.json", "model/model.safetensors"):
            (run / name).parent.mkdir(parents=True)
            (run / name).write_text("by somebody who syncs nothing")
        return SimpleNamespace(digest="")

    def conclude(*args: object) -> Path:
        (run / "report.html").write_text("a report")
        return run / "report.html"

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr("server.app.run_federation", train)
    monkeypatch.setattr("server.app.conclude", conclude)
    (tmp_path / "plan.toml").write_text(Plan().to_toml())
    config = {"plan": str(tmp_path / "plan.toml"), "run-folder": str(run), "watch": str(watched)}
    context = Context(
        run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config=dict(config)
    )
    with file_lock(watched):
        app(cast(Grid, None), context)
    assert "done" in watched.read_text().splitlines()[-1]
    assert not (run / HEARTBEAT).exists()
    paths = {str(path) for path in [tmp_path, run, *run.rglob("*")]}
    assert paths <= synced.keys()
    assert not any(synced.values())


def test_a_folder_in_which_somebody_else_trains_is_refused(tmp_path: Path) -> None:
    """A simulation, or an institution by itself, holds its folder; no site is asked anything."""
    (tmp_path / "plan.toml").write_text(Plan().to_toml())
    config = {"plan": str(tmp_path / "plan.toml"), "run-folder": str(tmp_path / "run")}
    context = Context(
        run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config=dict(config)
    )
    with held(tmp_path / "run"), pytest.raises(ResumeError, match="another process is training"):
        app(cast(Grid, None), context)
    assert not list((tmp_path / "run").iterdir())


def test_a_full_disk_is_named_to_the_command_that_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its exit code and the run folder, though the system named no file; it is no bug."""

    def train(*args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("server.app.run_federation", train)
    watched, run = tmp_path / "watched.jsonl", tmp_path / "run"
    (tmp_path / "plan.toml").write_text(Plan().to_toml())
    config = {"plan": str(tmp_path / "plan.toml"), "run-folder": str(run), "watch": str(watched)}
    context = Context(
        run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config=dict(config)
    )
    with file_lock(watched), pytest.raises(OutputError):
        app(cast(Grid, None), context)
    last = json.loads(watched.read_text().splitlines()[-1])
    assert last["code"] == OutputError.exit_code
    assert f"the disk of {run} is full" in last["error"] and "--resume" in last["error"]
