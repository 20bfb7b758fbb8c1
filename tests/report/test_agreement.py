"""Agreement in numbers, from a score table written by hand."""

from pathlib import Path

import pandas as pd

from echofm_core.report.agreement import agreement_table
from echofm_core.report.page import write_report
from echofm_core.report.run_files import read_run
from tests.pages.html import words_of

COLUMNS = ["model", "site", "task", "metric", "value", "low", "high", "patients"]


def run_with(folder: Path, *, patients: int = 40) -> Path:
    """EF at A and B, volumes at B; as between hospitals there are scores and no predictions."""
    rows = [
        (model, site, task, metric, value, value - 0.5, value + 0.5, patients)
        for model, shift in (("federated", 0.0), ("leave_one_out", 1.0), ("local:A", 2.0))
        for site, tasks in (("A", ("ef",)), ("B", ("ef", "esv", "edv")))
        for number, task in enumerate(tasks)
        for metric, value in (
            ("mae", 5.0 + number + shift),
            ("rmse", 99.0),
            ("r2", 0.7),
            ("pearson", 0.85),
            ("bias", -1.0 - number),
        )
    ]
    folder.mkdir()
    pd.DataFrame(rows, columns=COLUMNS).to_parquet(folder / "scores.parquet")
    return folder


def test_ef_and_volumes_have_the_same_columns_at_each_site(tmp_path: Path) -> None:
    """EF at two sites, each volume at one, of two models; no site's own model."""
    found = agreement_table(read_run(run_with(tmp_path / "run")))
    assert found is not None
    assert found.columns[3:] == ("n", "MAE", "R²", "Pearson r", "bias")
    assert found.numbers == {3, 4, 5, 6, 7}
    assert [row[:4] for row in found.rows] == [
        (model, *rest, "40")
        for model in ("federated", "leave one out")
        for rest in (("EF", "A"), ("EF", "B"), ("ESV", "B"), ("EDV", "B"))
    ]
    ef, edv = found.rows[0], found.rows[7]
    assert ef[4:6] == ("5.0 [4.5, 5.5]", "0.70 [0.20, 1.20]")
    assert ef[6:] == ("0.85 [0.35, 1.35]", "-1.0 [-1.5, -0.5]")
    assert edv[4] == "8.0 [7.5, 8.5]" and edv[7] == "-3.0 [-3.5, -2.5]"


def test_too_few_patients_are_said(tmp_path: Path) -> None:
    found = agreement_table(read_run(run_with(tmp_path / "run", patients=7)))
    assert found is not None
    assert found.rows[0][3:5] == ("7", "5.0 (n 7, too few to judge)")


def test_the_page_has_it_without_any_prediction(tmp_path: Path) -> None:
    page = words_of(write_report(run_with(tmp_path / "run")).read_text())
    assert "EDV B 40 7.0 [6.5, 7.5] 0.70 [0.20, 1.20] 0.85 [0.35, 1.35] -3.0 [-3.5, -2.5]" in page


def test_a_run_without_measurements_has_none(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run")
    table = pd.read_parquet(run / "scores.parquet").assign(task="view", metric="macro_f1")
    table.to_parquet(run / "scores.parquet")
    assert agreement_table(read_run(run)) is None
    for name in ("empty", "gone"):
        (tmp_path / name).mkdir()
    table.iloc[:0].to_parquet(tmp_path / "empty" / "scores.parquet")
    assert agreement_table(read_run(tmp_path / "empty")) is None
    assert agreement_table(read_run(tmp_path / "gone")) is None
