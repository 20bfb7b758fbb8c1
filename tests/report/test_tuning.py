"""What a report says of tuning: a table, or that there was none."""

from __future__ import annotations

import io
import math
from html import unescape
from pathlib import Path

import pandas as pd
from rich.console import Console

from echofm_core.plan.document import Plan
from echofm_core.plan.study import StudyConfig
from echofm_core.report.export import export
from echofm_core.report.formats import TableFormat
from echofm_core.report.study_page import print_study
from echofm_core.report.tuning import (
    TUNING,
    TUNING_COLUMNS,
    UNTUNED,
    chosen_words,
    read_tuning,
    tuning_grid,
    tuning_sentence,
)
from tests.pages.html import words_of
from tests.report.made_run import write_made_study

MU = "federation.proximal_mu = "
ROWS = [
    ("fedprox", "fedprox", f"{MU}0.01", 12, 0.25, False),
    ("fedprox", "fedprox", f"{MU}0.1", 12, 0.5, True),
    ("local", "local:camus", "the plan's", 1, math.nan, True),
    ("local", "local:camus", "other", 0, -math.inf, False),
]
TABLE = pd.DataFrame(ROWS, columns=list(TUNING_COLUMNS))


def study(folder: Path, tune: int) -> Path:
    """A finished study of a plan that tunes so much, with a file of what it chose."""
    write_made_study(folder)
    plan = Plan(name="made-up-run", study=StudyConfig(tune=tune))
    (folder / "plan.toml").write_text(plan.to_toml())
    TABLE.to_parquet(folder / TUNING)
    return folder


def said(folder: Path) -> tuple[str, str]:
    """Words of the page, and of the terminal."""
    *_, page = list(export([folder], None, predictions=False, out=None))
    out = io.StringIO()
    print_study(folder, Console(file=out, width=200))
    return unescape(words_of(page.read_text())), " ".join(out.getvalue().split())


def test_every_setting_has_a_row_with_its_score() -> None:
    grid = tuning_grid(TABLE)
    assert grid is not None
    assert grid.rows == (
        ("fedprox", "", f"{MU}0.01", "12", "0.250", ""),
        ("fedprox", "", f"{MU}0.1", "12", "0.500", "chosen"),
        ("local", "camus alone", "the plan's", "1", "n/a", "chosen"),
        ("local", "camus alone", "other", "0", "diverged", ""),
    )
    single = tuning_grid(TABLE[TABLE["method"] == "fedprox"])
    assert single is not None and "training" in grid.columns
    assert single.columns == tuple(name for name in grid.columns if name != "training")
    assert single.rows == tuple((row[0], *row[2:]) for row in grid.rows[:2])
    assert single.numbers == frozenset(map(single.columns.index, ("validation patients", "score")))
    assert chosen_words(TABLE) == f"fedprox: {MU}0.1; local, camus alone: the plan's"


def test_page_and_terminal_show_it_and_the_budget(tmp_path: Path) -> None:
    for text in said(study(tmp_path / "study", 2)):
        assert f"{MU}0.1" in text and "0.500" in text and "chosen" in text
        assert "Every method had 2 settings" in text and "No test patient took part" in text
        assert UNTUNED not in text


def test_without_tuning_page_and_terminal_say_so(tmp_path: Path) -> None:
    """Whatever an earlier session has left."""
    folder = study(tmp_path / "study", 0)
    for text in said(folder):
        assert UNTUNED in text
        assert f"{MU}0.1" not in text
    assert read_tuning(folder, StudyConfig()).empty
    assert tuning_grid(read_tuning(folder, StudyConfig())) is None
    assert tuning_sentence(StudyConfig()) == UNTUNED


def test_the_table_is_exported(tmp_path: Path) -> None:
    tuned, plain = study(tmp_path / "tuned", 2), study(tmp_path / "plain", 0)
    list(export([tuned], TableFormat.CSV, predictions=False, out=tmp_path / "out"))
    found = pd.read_csv(tmp_path / "out" / "tuning.csv")
    pd.testing.assert_frame_equal(found, TABLE, check_dtype=False)
    list(export([plain], TableFormat.CSV, predictions=False, out=tmp_path / "none"))
    assert (tmp_path / "none" / "study.csv").exists()
    assert not (tmp_path / "none" / "tuning.csv").exists()
