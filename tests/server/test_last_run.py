"""How the last run fares follows from its report and its heartbeat, whoever was killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from echofm_core.live.states import RunState
from echofm_core.runtime.errors import FederationError
from server import last_run as module
from server import status as statuses
from server.kit import Kit
from server.last_run import LastRun, last_run, note, stop_run
from server.provision import provision
from server.status import status_of
from server.watch import Watcher, reporter, watch
from tests.server.test_members import public_key

APP = """
import sys, time
from pathlib import Path
from echofm_core.live.heartbeat import heartbeat
from server.watch import reporter
with reporter(Path(sys.argv[1])) as side, heartbeat(Path(sys.argv[2])):
    print("begun", flush=True)
    time.sleep(99)
"""


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    (tmp_path / "run").mkdir()
    return provision(tmp_path / "fed", "fl.example.org", None)[0]


def app(report: Path, run: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", APP, str(report), str(run)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def found(kit: Kit) -> LastRun:
    run = last_run(kit)
    assert run is not None
    return run


def test_a_run_is_running_and_then_completed(kit: Kit) -> None:
    assert last_run(kit) is None
    with watch(kit.folder / "runs") as (report, _):
        note(report, kit.folder.parent / "run")
        assert found(kit).state is RunState.RUNNING, "it begins"
        with reporter(report):
            note(report, kit.folder.parent / "run", "17")
        assert found(kit).number == "17"
    assert (found(kit).state, found(kit).why) == (RunState.COMPLETED, "")


def test_what_ends_the_command_or_the_app_is_why_it_failed(kit: Kit) -> None:
    with (
        pytest.raises(FederationError),
        watch(kit.folder / "runs") as (report, _),
    ):
        note(report, kit.folder.parent / "run")
        raise FederationError("the run did not begin within 60 s.")
    assert (found(kit).state, found(kit).why) == (
        RunState.FAILED, "the run did not begin within 60 s.",
    )  # fmt: skip


def test_of_an_app_that_was_killed_or_hangs_the_heartbeat_tells(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = kit.folder.parent / "run"
    with watch(kit.folder / "runs") as (report, _):
        note(report, run, "17")
        process = app(report, run)
        assert found(kit).state is RunState.RUNNING
        assert found(kit).heartbeat is not None
        process.kill()
        process.wait()
    os.utime(run / "heartbeat", (time.time() + 1, time.time() + 1))  # as if it had beaten just now
    assert found(kit).state is RunState.RUNNING
    monkeypatch.setattr(module, "STALE", -1.0)
    assert found(kit).state is RunState.ORPHANED
    assert "ended without a word" in found(kit).why
    (run / "heartbeat").unlink()
    assert found(kit).state is RunState.ORPHANED
    with watch(kit.folder / "runs2") as (again, _):  # gone on with: the old heartbeat says nothing
        (run / "heartbeat").touch()
        os.utime(run / "heartbeat", (1, 1))
        again = again.rename(report.with_name("29991231-000000-1.jsonl"))
        note(again, run)
        assert found(kit).state is RunState.RUNNING


def test_a_run_is_stopped_and_its_command_says_so(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, asked, said = kit.folder.parent / "run", [], []
    monkeypatch.setattr(module, "ask", lambda kit, *words: asked.append(words))
    with pytest.raises(FederationError, match="is running; there was none yet"):
        stop_run(kit)
    ready = threading.Event()

    def command() -> None:
        try:
            with watch(kit.folder / "runs") as (report, seen):
                note(report, run, "17")
                process.append(app(report, run))
                ready.set()
                while True:
                    seen.lines()
                    time.sleep(0.1)
        except FederationError as error:
            said.append(str(error))

    process: list[subprocess.Popen[str]] = []
    waiting = threading.Thread(target=command)
    waiting.start()
    assert ready.wait(30)
    stop_run(kit)
    waiting.join(10)
    assert process[0].wait(10) != 0
    assert said == ["the run was stopped by `echofm server stop`; go on with --resume."]
    assert asked == [("stop", "17", "federation")]
    assert (found(kit).state, found(kit).why) == (RunState.FAILED, said[0])
    with pytest.raises(FederationError, match=r"is running; the last one, in .*, is failed"):
        stop_run(kit)


def test_status_names_each_site_as_flower_knows_its_node(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.sites.mkdir()
    for name in ("north", "south", "west"):
        (kit.sites / f"{name}.pub").write_text(public_key())
    kit.registered.write_text("1 north key\n2 south key\n")
    kit.keep_ports(health=1)
    listed = {
        "nodes": [
            {"node-id": "1", "status": "online", "offline-at": "N/A"},
            {"node-id": "2", "status": "offline", "offline-at": "2026-11-29 08:56:48Z"},
            {"node-id": "9", "status": "online", "offline-at": "N/A"},
        ]
    }
    monkeypatch.setattr(statuses, "serving", lambda port: True)
    monkeypatch.setattr(statuses, "ask", lambda kit, *words: listed)
    status = status_of(kit)
    seen = json.loads(json.dumps(status.as_json()))
    assert [(site["name"], site["state"]) for site in seen["sites"]] == [
        ("north", "online"), ("south", "offline"), ("west", "unknown"),
    ]  # fmt: skip
    assert seen["sites"][0]["last_seen"].endswith("Z")
    assert seen["sites"][1]["last_seen"] == "2026-11-29T08:56:48Z"
    assert (seen["serving"], seen["host"], seen["last_run"]) == (True, "fl.example.org", None)
    assert "  south: offline, last seen 2026-11-29T08:56:48Z" in status.lines()


def test_a_stopped_superlink_is_said_with_the_last_run(kit: Kit) -> None:
    with watch(kit.folder / "runs") as (report, _):
        note(report, kit.folder.parent / "run", "17")
        status = status_of(kit)
    assert not status.serving
    assert status.as_json()["last_run"]["state"] == "running"
    assert Watcher(report).lines() == []
