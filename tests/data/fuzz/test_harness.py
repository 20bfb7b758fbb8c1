"""The harness itself: a reader that does what its folder is called, and what is made of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pandas as pd
import pytest

from echofm_core.data.findings import Findings
from echofm_core.data.manifest import manifest_from_rows
from echofm_core.runtime.errors import DataRootError
from tests.data.fuzz import harness
from tests.data.fuzz.harness import Format, Seed, run, waits


def _refuse(message: str) -> NoReturn:
    raise DataRootError(message)


#: What a reader can do, and what the harness must call it.
ACTIONS: dict[str, Callable[[], object]] = {
    "read": list,
    "refused": lambda: _refuse("the table lacks a column."),
    "broke": lambda: _refuse("the patient Zebra is twice there."),
    "raised": lambda: {}["view"],
    "printed": lambda: os.write(2, b"libjpeg is not amused"),
    "swollen": lambda: b"\1" * 2**30,
    "crashed": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "hung": lambda: time.sleep(60),
}


def act(root: Path) -> tuple[pd.DataFrame, Findings]:
    ACTIONS[root.name]()
    return manifest_from_rows([]), Findings()


def plant(folder: Path) -> list[Seed]:
    for name in ACTIONS:
        (folder / name).mkdir()
        (folder / name / "file").write_bytes(b"sound")
    return [Seed(file=folder / name / "file", root=folder / name, read=act) for name in ACTIONS]


FORMAT = Format(name="harness", plant=plant, mutators=(), secrets=("zebra",))


#: Draws each of the eight actions once in eight cases.
SEED = 964


@pytest.mark.slow
def test_each_way_to_hurt_is_told_and_can_be_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "LONGEST", 6.0)  # whoever hangs does so for a minute
    report = run("harness", SEED, range(8))
    assert report.outcomes == dict.fromkeys(ACTIONS, 1)
    assert len(report.failures) == 6
    failure = next(failure for failure in report.failures if failure.startswith("crashed"))
    assert "SIGSEGV" in failure
    number = int(failure.split("--from ")[1].split()[0])
    assert run("harness", SEED, range(number, number + 1)).failures == [failure]


@pytest.mark.skipif(
    not Path("/proc/self/schedstat").exists(), reason="this system does not say who waits"
)
def test_waiting_for_a_processor_is_told_from_sleeping() -> None:
    """Two processes that never rest share one processor, so that each waits for the other."""
    one = min(os.sched_getaffinity(0))
    spin = f"import os; os.sched_setaffinity(0, [{one}])\nwhile True: pass"
    spinners = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(2)]
    sleep = "import time; print('asleep', flush=True); time.sleep(600)"
    sleeper = subprocess.Popen([sys.executable, "-c", sleep], stdout=subprocess.PIPE)
    try:
        assert sleeper.stdout is not None and sleeper.stdout.readline() == b"asleep\n"
        before = max(waits(sleeper.pid).values())
        while not all(max(waits(spinner.pid).values()) > 1 for spinner in spinners):
            time.sleep(0.1)
        assert max(waits(sleeper.pid).values()) < before + 0.5
    finally:
        for process in (*spinners, sleeper):
            process.kill()
            process.communicate()
    assert waits(sleeper.pid) == {}


def test_a_large_parent_does_not_make_its_children_swollen() -> None:
    """A suite holds gigabytes by the time that it comes here; the case alone is judged."""
    held = b"\1" * (2**30 + 2**28)
    report = run("cfg", 0, range(3))
    assert len(held) > 2**30
    assert not report.failures
