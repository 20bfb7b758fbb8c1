"""Real commands, stopped by Ctrl-C and SIGTERM in the middle of their work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from echofm_core.data.manifest import manifest_from_rows, save_manifest
from echofm_core.phantom.institutions import Layout, write_institutions
from tests.data.files import speckle, write_avi
from tests.runtime.marked import Marked
from tests.simulations.alone.conftest import PLAN as INSTITUTION
from tests.support.forks import Forks

Begin = Callable[..., Marked]

PLAN = """
name = "small"
[data]
size = 32
test_windows = 1
[model]
patch = 16
[pretrain]
rounds = 2
local_epochs = 900
[finetune]
rounds = 1
[evaluation]
baselines = []
[machine]
roots = ["data"]
save_every = 1
"""

SIGNALS = pytest.mark.parametrize(
    ("number", "group"),
    [(signal.SIGINT, True), (signal.SIGTERM, False)],
    ids=["Ctrl-C", "SIGTERM"],
)


@pytest.fixture
def begin(forks: Forks, tmp_path: Path) -> Iterator[Begin]:
    begun = []

    def start(*words: object, **more: str) -> Marked:
        begun.append(Marked(forks, tmp_path, *words, **more))
        return begun[-1]

    yield start
    for command in begun:
        command.clean_up()


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


@SIGNALS
def test_writing_phantoms(
    begin: Begin, tmp_path: Path, number: signal.Signals, group: bool
) -> None:
    command = begin("phantom", "write", "data", "--layout", "camus", "--patients", 500)
    command.wait_for(lambda: list(tmp_path.glob("data/.unfinished/*/*/*/*_sequence*")))
    said = lines(command.stop(number, group=group))
    name = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}[number]
    assert said == [f"echofm: stopped by {name}; to go on, run the same command again."]
    # And the same command does go on.
    again = begin("phantom", "write", "data", "--layout", "camus", "--patients", 2)
    assert again.process.wait(60) == 0, again.output()
    assert sorted(path.name for path in (tmp_path / "data").iterdir())[0].startswith("CAMUS")


def test_the_demo_as_it_writes_its_data(begin: Begin, tmp_path: Path) -> None:
    command = begin("demo", "demo")
    command.wait_for(lambda: list(tmp_path.glob("demo/data/hospitals/.unfinished/*/*/*")))
    said = lines(command.stop(signal.SIGINT, group=True))
    assert said == ["echofm: stopped by Ctrl-C; to go on, run the same command again."]


@pytest.fixture(scope="module")
def institutions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("institutions") / "data"
    write_institutions(folder, {Layout.CAMUS: 4, Layout.TMED2: 4}, seed=5, errors=False)
    return folder


@pytest.mark.parametrize(
    ("workers", "number", "group"),
    [(1, signal.SIGINT, False), (2, signal.SIGTERM, True)],
)
def test_a_simulation_in_training(
    begin: Begin,
    institutions: Path,
    tmp_path: Path,
    workers: int,
    number: signal.Signals,
    group: bool,
) -> None:
    """No round is recorded of which a part was cut off: that would change the bits."""
    (tmp_path / "data").symlink_to(institutions)
    (tmp_path / "plan.toml").write_text(PLAN)
    command = begin("simulate", "plan.toml", "--out", "run", "--workers", workers)
    command.wait_for(lambda: list(tmp_path.glob("run/**/progress/*")))
    (said,) = lines(command.stop(number, group=group))
    assert said.endswith("; to go on, run the same command again with --resume.")
    assert not list(tmp_path.glob("run/**/journal/*.json"))


@pytest.mark.parametrize("study", [(), ("--seeds", 1)], ids=["run", "study"])
def test_a_simulation_whose_workers_have_not_begun(
    begin: Begin, institutions: Path, tmp_path: Path, study: tuple[object, ...]
) -> None:
    """It decodes; the parent of all its forks is there, and still loads what workers need."""
    (tmp_path / "data").symlink_to(institutions)
    (tmp_path / "plan.toml").write_text(PLAN)
    command = begin("simulate", "plan.toml", "--out", "run", "--workers", 2, *study)
    command.wait_for(lambda: any(map(_loads_sites, command.others())))
    (said,) = lines(command.stop(signal.SIGINT, group=True))
    assert said.endswith("; to go on, run the same command again with --resume.")


def _loads_sites(process: psutil.Process) -> bool:
    return "client.training" in " ".join(process.cmdline())


@SIGNALS
def test_an_institution_in_training(
    begin: Begin, home: Path, number: signal.Signals, group: bool
) -> None:
    plan = INSTITUTION.replace("rounds = 3", "rounds = 1\nlocal_epochs = 900")
    (home / "plan.toml").write_text(f"{plan}save_every = 1\n")
    command = begin("pretrain", "plan.toml", "--out", "run")
    command.wait_for(lambda: list(home.glob("run/sites/**/progress/*")))
    (said,) = lines(command.stop(number, group=group))
    assert said.endswith("with --resume.")


@SIGNALS
def test_decoding(begin: Begin, tmp_path: Path, number: signal.Signals, group: bool) -> None:
    """One worker waits for ever on a pipe in place of a video: no polite request reaches it."""
    for clip in range(3):
        write_avi(tmp_path / f"{clip}.avi", speckle(8, seed=clip))
    rows = [
        {
            "dataset": "d",
            "patient_id": f"p{clip}",
            "clip_id": f"c{clip}",
            "path": str(tmp_path / f"{clip}.avi"),
        }
        for clip in range(3)
    ]
    save_manifest(manifest_from_rows(rows), tmp_path / "m.parquet")
    (tmp_path / "1.avi").unlink()
    os.mkfifo(tmp_path / "1.avi")
    command = begin("data", "store", "m.parquet", "--out", "stores", "--workers", 2)
    command.wait_for(lambda: len(list(tmp_path.glob("stores/**/*.part"))) == 2)
    (said,) = lines(command.stop(number, group=group))
    assert said.endswith("run the same command again.")


#: A command that does not hear the exception: it waits in C, or swallows it.
DEAF = """
import subprocess, sys, threading, time
from echofm_core import cli

@cli.app.command()
def deaf() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(99)"])
    print("ready", flush=True)
    while True:
        try:
            time.sleep(99)
        except BaseException:
            pass

cli.main()
"""


def test_a_command_that_swallows_everything_is_ended_for_certain(begin: Begin) -> None:
    command = begin("deaf", code=DEAF)
    command.wait_for(lambda: "ready" in command.output())
    (said,) = lines(command.stop(signal.SIGTERM, group=False))
    assert said.startswith("echofm: stopped by SIGTERM")


def test_a_run_under_nohup_does_not_end_with_its_terminal(tmp_path: Path) -> None:
    script = "import signal; from echofm_core.runtime.signals import *; install_handlers(print)\n"
    script += "signal.raise_signal(signal.SIGHUP); print('alive')"
    ignoring = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", sys.executable, "-c", script]
    done = subprocess.run(ignoring, capture_output=True, text=True, check=False, timeout=30)
    assert done.stdout.strip() == "alive", done.stderr
