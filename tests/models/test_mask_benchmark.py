"""The benchmark's rows: figures, bars, exit code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks._rows import Bar, Row, report


def test_the_mask_benchmark_holds(tmp_path: Path) -> None:
    """The issue's own words: 166 of 196 positions in each of 8 slots, two samples differ."""
    file = tmp_path / "rows.json"
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.mask", "--json", str(file)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    rows = json.loads(file.read_text())
    assert [row["ours"] for row in rows[:4]] == [166, 166, 8, 1328]
    assert all(row["holds"] for row in rows)


@pytest.mark.parametrize(
    ("ours", "peer", "bar", "holds"),
    [
        (11.0, 10.0, Bar("at most", 1.2), True),
        (13.0, 10.0, Bar("at most", 1.2), False),
        (30.0, 10.0, Bar("at least", 3), True),
        (29.0, 10.0, Bar("at least", 3), False),
        (5.0, None, Bar("exactly", 5), True),
        (5.0, None, Bar("exactly", 6), False),
        (float("nan"), 10.0, Bar("at most", 1.2), False),
        (1.0, 0.0, Bar("at least", 3), False),
        (1.0, 2.0, None, None),
    ],
)
def test_a_bar_judges_the_ratio_or_else_ours(
    ours: float, peer: float | None, bar: Bar | None, holds: bool | None
) -> None:
    assert Row("x", ours, peer, bar).holds is holds


def test_a_missed_bar_is_exit_code_1_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = Row("good", 1.0, 2.0, Bar("at most", 1)), Row("bad", 3.0, 2.0, Bar("at most", 1))
    assert report([good]) == 0
    assert report([good, bad]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.split() == ["bad", "3", "2", "1.5", "at", "most", "1", "NO"]
