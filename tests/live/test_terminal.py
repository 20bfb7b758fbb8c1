"""A run in a terminal, and where there is none."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from rich.console import Console

from echofm_core.live import terminal as module
from echofm_core.live.show import run_source, show
from echofm_core.live.terminal import watch_in_terminal
from echofm_core.live.view import View
from tests.live.made import add_tests, run_toy, running
from tests.support.commands import ECHOFM, Echofm


def test_a_finished_run_is_shown_once(echofm: Echofm, tmp_path: Path) -> None:
    run_toy(tmp_path / "run")
    add_tests(tmp_path / "run")
    done = echofm("watch", tmp_path / "run")
    assert (done.returncode, done.stderr) == (0, "")
    words = " ".join(done.stdout.split())
    assert "toy completed The run is completed; report.html in its folder has the results." in words
    assert "3 of 3 rounds" in words and "north answered" in words and "EF MAE (points) 6.2" in words
    assert "Updates that did not count" in words and "\x1b" not in done.stdout


def test_a_port_without_a_page_is_refused_before_a_look() -> None:
    def source() -> View:
        raise AssertionError("it has looked at the run")

    with pytest.raises(typer.BadParameter, match="add --web"):
        show(source, web=False, port=8765)


def test_a_folder_that_is_not_there_is_said(echofm: Echofm, tmp_path: Path) -> None:
    done = echofm("watch", tmp_path / "nowhere")
    assert done.returncode == 11 and "is no folder; give the run folder" in done.stderr


def test_the_screen_is_drawn_until_the_run_is_over_and_then_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_toy(tmp_path / "run")
    over = run_source(tmp_path / "run")()
    views = [make(over, False), make(over, False), make(over, True)]
    monkeypatch.setattr(module, "INTERVAL", 0.0)
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, height=40)
    watch_in_terminal(lambda: views.pop(0), console)
    text = out.getvalue()
    assert text.count("\x1b[?1049h") == text.count("\x1b[?1049l") == 1, "the other screen"
    assert "completed" in text.rpartition("\x1b[?1049l")[2], "how it ended stays"
    assert not views


def make(view: View, over: bool) -> View:
    return view if over else replace(view, over=False, state="running", sentence="Going on.")


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is a signal")
def test_lines_of_a_run_that_goes_on_come_once_and_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    with running(tmp_path / "run", seconds=0.3):
        words = [sys.executable, "-c", ECHOFM, "watch", str(tmp_path / "run")]
        pipe = subprocess.PIPE
        watcher = subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True)
        assert watcher.stdout and watcher.stderr
        seen = ""
        wanted = ("round 4, loss", "site west-nan, rounds", "waiting for south")
        while not all(words in seen for words in wanted) or seen.count("running:") < 4:
            line = watcher.stdout.readline()
            assert line, watcher.stderr.read()
            seen += line
        begun = time.monotonic()
        os.kill(watcher.pid, signal.SIGINT)
        rest, error = watcher.communicate(timeout=30)
        assert time.monotonic() - begun < 5
    assert watcher.returncode == 130 and "Traceback" not in error
    lines = [line.partition(" ")[2] for line in (seen + rest).splitlines()]
    assert len(lines) == len(set(lines)), "each is said once"
    rounds = [int(n) for n in re.findall(r"phase pretrain, round (\d+), loss", seen)]
    assert rounds and rounds == sorted(rounds)
