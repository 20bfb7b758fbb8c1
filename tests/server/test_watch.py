"""The command and its ServerApp hear of each other, and of each other's end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from echofm_core.runtime.errors import FederationError, PlanError
from server.watch import reporter, watch

APP = """
import sys, time
from pathlib import Path
from server.watch import reporter
with reporter(Path(sys.argv[1])) as side:
    side.line("round 1")
    time.sleep(99)
"""


def app(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", APP, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "round 1\n"
    return process


def test_what_happens_is_heard_once_and_in_order(tmp_path: Path) -> None:
    with watch(tmp_path) as (path, seen):
        assert seen.lines() == []
        assert not seen.begun
        with reporter(path) as side:
            side.line("waiting")
            side.line("round 1: a, b")
            assert seen.lines() == ["waiting", "round 1: a, b"]
            assert seen.begun and seen.alive() and not seen.done
            assert seen.lines() == []
        assert seen.lines() == []
        assert seen.done and not seen.alive()


def test_a_line_that_is_half_written_waits_for_its_other_half(tmp_path: Path) -> None:
    with watch(tmp_path) as (path, seen):
        with path.open("a") as file:
            file.write('{"line": "one"}\n{"li')
        assert seen.lines() == ["one"]
        with path.open("a") as file:
            file.write('ne": "two"}\n')
        assert seen.lines() == ["two"]


def test_what_was_said_before_an_error_is_heard_first(tmp_path: Path) -> None:
    """Which sites failed stands in the line before, and may come with the same look."""
    with watch(tmp_path) as (path, seen):
        with pytest.raises(FederationError), reporter(path) as side:
            side.line("evaluated at no site")
            raise FederationError("it could not be tested.")
        assert seen.lines() == ["evaluated at no site"]
        with pytest.raises(FederationError, match="could not be tested"):
            seen.lines()


def test_an_error_ends_the_command_with_its_sentence_and_code(tmp_path: Path) -> None:
    with watch(tmp_path) as (path, seen):
        with pytest.raises(PlanError), reporter(path):
            raise PlanError("the plan is wrong.")
        with pytest.raises(PlanError, match="the plan is wrong"):
            seen.lines()
    with watch(tmp_path / "2") as (path, seen):
        with pytest.raises(ZeroDivisionError), reporter(path):
            _ = 1 / 0
        with pytest.raises(FederationError, match="met a bug"):
            seen.lines()


def test_a_killed_server_app_is_noticed(tmp_path: Path) -> None:
    with watch(tmp_path) as (path, seen):
        process = app(path)
        assert seen.lines() == ["round 1"]
        assert seen.alive()
        process.kill()
        process.wait()
        assert not seen.alive()


def test_a_server_app_ends_when_nobody_waits_for_it(tmp_path: Path) -> None:
    with watch(tmp_path) as (path, _):
        process = app(path)
        time.sleep(1.5)
        assert process.poll() is None
    assert process.wait(5) == -signal.SIGTERM


def test_without_a_command_it_only_prints(capsys: pytest.CaptureFixture[str]) -> None:
    with reporter(None) as side:
        side.line("round 1")
    assert capsys.readouterr().out == "round 1\n"
