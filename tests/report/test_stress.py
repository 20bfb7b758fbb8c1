"""How the cost of changed clips is written."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.evaluation.stress.stressors import STRESSORS, UNCHANGED, Setting
from echofm_core.evaluation.stress.table import STRESS, stress_table
from echofm_core.report.page import write_report
from echofm_core.report.stress import print_stress, read_stress, stress_grids, stress_words
from tests.evaluation.made import prediction_rows
from tests.report.made_run import write_made_run

SITES = {"NA": 30, "B": 20, "new": 15}
DEEP = Setting(STRESSORS[0], 1.5)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made run with a table of one change; a site is called as pandas writes what is missing."""
    folder = write_made_run(tmp_path_factory.mktemp("made") / "run", small=True)
    predictions = {UNCHANGED: prediction_rows(SITES), DEEP: prediction_rows(SITES, noise=12)}
    config = EvaluationConfig(bootstrap=100)
    found = stress_table(predictions, config, 3, 50.0, ("new",)).assign(left_out=2)
    found.to_csv(folder / STRESS, index=False)
    return folder


def test_a_table_is_read_as_it_was_written(run: Path) -> None:
    table = read_stress(run)
    assert {"NA", "B", "new", "mean of sites", "worst site"} == set(table["site"])
    again = run / "again.csv"
    table.to_csv(again, index=False)
    assert again.read_bytes() == (run / STRESS).read_bytes()
    assert read_stress(run / "nowhere").empty
    assert stress_grids(read_stress(run / "nowhere")) == {}


def test_a_row_has_value_and_loss_of_mean_worst_and_the_unseen_site(run: Path) -> None:
    table = read_stress(run)
    grid = stress_grids(table)["EF MAE (points), lower is better"]
    assert grid.columns == (
        "change", "strength", "mean of sites (n 50)", "loss, mean of sites", "worst site (n 50)",
        "loss, worst site", "new (never seen, n 15)", "loss, new",
    )  # fmt: skip
    clean, deep = grid.rows
    assert clean[:2] == ("clean", "")
    assert clean[3] == clean[5] == clean[7] == ""
    assert deep[:2] == ("depth", "x 1.5")
    row = table.query("change == 'depth' and site == 'new' and task == 'ef' and metric == 'mae'")
    value, loss, low, high = row[["value", "loss", "low", "high"]].iloc[0]
    assert deep[6:] == (f"{value:.1f}", f"{loss:+.2f} [{low:+.2f}, {high:+.2f}]")


def test_page_and_terminal_say_that_it_is_synthetic(run: Path) -> None:
    page = write_report(run).read_text()
    assert "The same test clips, changed" in page
    assert "The changes are synthetic" in page
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    print_stress(run, console)
    text = console.export_text()
    assert "The changes are synthetic" in " ".join(text.split())
    assert "depth x 1.5" in text
    assert "R²" not in text
    assert "2 clips that could not be read or changed count nowhere" in stress_words(
        read_stress(run)
    )


def test_a_damaged_table_is_no_table(run: Path, tmp_path: Path) -> None:
    pd.DataFrame({"change": ["depth"]}).to_csv(tmp_path / STRESS)
    assert read_stress(tmp_path).empty
    assert stress_words(read_stress(tmp_path)) == ""
