"""A benchmark's usage says how it is called."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

import benchmarks
from benchmarks._rows import Row, parser, report

FOLDER = Path(benchmarks.__file__).parent


@pytest.mark.parametrize(
    ("runs", "called"),
    [
        ("benchmarks.data", "python -m benchmarks.data"),
        ("benchmarks.federation.__main__", "python -m benchmarks.federation"),
    ],
)
def test_the_usage_names_the_module(
    runs: str, called: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package, which argparse would call __main__.py, by its own name."""
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", ModuleSpec(runs, None))
    assert parser("What it is.").format_usage().startswith(f"usage: {called} [-h]")


def test_rows_have_a_place_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Hours later a missing folder is made, and a file in its place would be the end of them."""
    words = parser("What it is.")
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="2"):
        words.parse_args(["--json", str(tmp_path / "file/rows.json")])
    assert "file is a file; choose another place" in capsys.readouterr().err
    place = words.parse_args(["--json", str(tmp_path / "new/rows.json")]).json
    report([Row("what", 1.0)], place)
    assert '"ours": 1.0' in place.read_text()


def test_every_benchmark_has_its_command_line_from_there() -> None:
    own = [file.name for file in FOLDER.rglob("*.py") if "ArgumentParser(" in file.read_text()]
    assert own == ["_command.py"]
