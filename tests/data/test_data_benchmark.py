"""The data benchmark's form: which rows, which bars, what they say; not how fast anything is."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks._timing import machine, side_by_side


@pytest.mark.slow
def test_the_data_benchmark_measures_all_that_has_a_bar(tmp_path: Path) -> None:
    """The bars of the project: 50 x, 3 x, 8 x, 10 s and 1 GB; the exit code says if all hold."""
    file = tmp_path / "rows.json"
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.data", "--quick", "--json", str(file)],
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert result.returncode in (0, 1), result.stdout + result.stderr
    rows = json.loads(file.read_text())
    barred = [(row["what"].split(",")[0], row["bar"]) for row in rows if row["bar"]]
    assert barred == [
        ("windows of 16 frames", "at least 50"),
        ("store building", "at least 3"),
        ("DICOM ingest", "at least 8"),
        ("manifest of 20", "at most 10"),
        ("manifest of 20", "at most 1000"),
    ]
    for row in rows:
        assert math.isfinite(row["ours"]) and row["ours"] > 0
        assert row["peer"] is None or row["ratio"] == pytest.approx(row["ours"] / row["peer"])
    assert result.returncode == int(any(row["holds"] is False for row in rows))
    assert "cores, Python" in result.stdout.splitlines()[0]


def test_contestants_take_turns_after_a_warm_up() -> None:
    order: list[str] = []
    spent = side_by_side((lambda: order.append("a"), lambda: order.append("b")), 3)
    assert "".join(order) == "ab" * 4
    assert len(spent) == 2
    assert all(one.cpu >= 0 and one.wall >= 0 for one in spent)


def test_cpu_is_that_of_this_process_and_wall_is_the_clock() -> None:
    """Sleeping half a tenth takes wall and hardly any CPU."""
    (slept,) = side_by_side((lambda: time.sleep(0.05),), 3)
    assert slept.wall >= 0.05
    assert slept.cpu < slept.wall


def test_the_machine_is_named_with_what_is_installed() -> None:
    line = machine(("numpy", "no-such-package"))
    assert "numpy " in line
    assert "no-such" not in line
