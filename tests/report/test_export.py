"""`echofm report`: tables, figures' data, CardioBench's files, and runs side by side."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from echofm_core.report.export import export
from echofm_core.report.formats import TableFormat
from echofm_core.report.run_files import read_run
from echofm_core.report.side_by_side import side_by_side
from echofm_core.report.tables import pipe_table, rendered
from echofm_core.runtime.errors import OutputError, PlanError
from tests.pages.html import words_of
from tests.report.made_run import write_made_run

TABLE = pd.DataFrame({"site_a": ["1.0 & 2", "50 %"], "R²": [0.5, 1.0]})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_made_run(tmp_path_factory.mktemp("export") / "run", small=True)


def write(run: Path, out: Path, form: TableFormat | None = None, **more: bool) -> list[Path]:
    return list(export([run], form, predictions=more.get("predictions", False), out=out))


def test_a_report_is_built_again_and_nothing_else_without_options(
    run: Path, tmp_path: Path
) -> None:
    assert write(run, tmp_path) == [run / "report.html"]
    assert list(tmp_path.iterdir()) == []


def test_tables_hold_what_the_page_shows(run: Path, tmp_path: Path) -> None:
    written = {
        path.relative_to(tmp_path).as_posix() for path in write(run, tmp_path, TableFormat.CSV)[1:]
    }
    assert {
        "scores.csv",
        "comparisons.csv",
        "sites-ef-mae.csv",
        "figures/agreement-ef.csv",
    } <= written
    assert {"figures/training-curves.csv", "figures/roc-reduced-ef.csv"} <= written
    scores = pd.read_csv(tmp_path / "scores.csv")
    assert len(scores) == len(read_run(run).scores)
    table = pd.read_csv(tmp_path / "sites-ef-mae.csv")
    value = scores.query(
        "model == 'federated' and site == 'camus' and task == 'ef' and metric == 'mae'"
    )
    assert (
        table.loc[table["model"] == "federated", "camus"]
        .item()
        .startswith(f"{value['value'].item():.1f} [")
    )


def test_figures_have_a_point_a_study(run: Path, tmp_path: Path) -> None:
    write(run, tmp_path, TableFormat.MARKDOWN)
    points = pd.read_csv(tmp_path / "figures/agreement-ef.csv")
    assert points.groupby("model").size().to_dict() == {"federated": 12, "no_network": 12}


def test_latex_escapes_what_latex_would_read() -> None:
    text = rendered(TABLE, TableFormat.LATEX, caption="a_b")
    assert r"site\_a & R$^2$ \\" in text and r"1.0 \& 2" in text and r"50 \%" in text
    assert r"\toprule" in text and r"\caption{a\_b}" in text


def test_markdown_is_a_pipe_table() -> None:
    assert pipe_table(TABLE).splitlines() == [
        "| site_a | R² |", "|---|---|", "| 1.0 & 2 | 0.5 |", "| 50 % | 1.0 |",
    ]  # fmt: skip
    assert "a\\|b" in pipe_table(pd.DataFrame({"x": ["a|b"]}))


def test_predictions_are_files_of_cardiobench(run: Path, tmp_path: Path) -> None:
    """Its columns: patient_id and EF_pred at CAMUS; study_id, as_pred and prob_as at TMED-2."""
    write(run, tmp_path, predictions=True)
    folder = tmp_path / "cardiobench"
    ef = pd.read_csv(folder / "CAMUS/EF/federated.csv")
    assert list(ef.columns) == ["patient_id", "EF_pred"] and len(ef) == 12
    rows = read_run(run).predictions["federated"]
    grades = rows[rows["task"] == "as_grade"]
    found = pd.read_csv(folder / "TMED2/AS/federated.csv").set_index("study_id")
    assert list(found.columns) == ["as_pred", "prob_as"]
    expected = 1 - grades.groupby("study_id")["p0"].mean()
    assert found["prob_as"].tolist() == pytest.approx(expected.tolist())
    assert found["as_pred"].tolist() == [int(chance >= 0.5) for chance in expected]
    assert (folder / "CAMUS/EF/no-network.csv").exists()  # an underscore would name a view


def test_what_is_no_run_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"is no run folder: it has no plan\.toml"):
        write(tmp_path, tmp_path)


def test_what_cannot_be_written_is_refused_before_anything_is(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its report nor a table, a checklist or what another run could give."""
    empty, other = tmp_path / "empty", tmp_path / "other"
    shutil.copytree(run, empty, ignore=shutil.ignore_patterns("predictions", "report.html"))
    shutil.copytree(run, other, ignore=shutil.ignore_patterns("report.html"))
    rename = {"camus": "own", "tmed2": "own", "echonet_dynamic": "own"}
    for path in (other / "predictions").iterdir():
        rows = pd.read_parquet(path)
        rows.assign(dataset=rows["dataset"].astype(str).replace(rename)).to_parquet(path)
    out = tmp_path / "out"
    why = {empty: "predictions/ holds no predictions", other: "its predictions are of own"}
    for folder in (empty, other):
        with pytest.raises(PlanError, match=f"{why[folder]}; nothing was written"):
            list(export([folder], TableFormat.CSV, predictions=True, checklist=True, out=out))
        with pytest.raises(PlanError, match=why[folder]):
            list(export([run, folder], TableFormat.CSV, predictions=True, out=out))
        assert not out.exists() and not (folder / "report.html").exists()
    out.touch()
    with pytest.raises(OutputError, match="out is a file, and a folder is wanted"):
        write(other, out, TableFormat.CSV)
    out.unlink()
    with monkeypatch.context() as superuser:  # to whom the system always says yes
        superuser.setattr(os, "access", lambda place, how: place != empty)
        with pytest.raises(OutputError, match=f"no permission to write in {empty};"):
            list(export([other, empty], None, predictions=False, out=out))
    (other / "scores.parquet").unlink()
    with pytest.raises(PlanError, match="has no scores to compare"):
        list(export([run, other], None, predictions=False, out=out))
    assert not out.exists() and not (other / "report.html").exists()


def test_runs_side_by_side_are_compared_on_the_same_patients(run: Path, tmp_path: Path) -> None:
    """A copy does not differ; its grid has the same row, and its plan the same keys."""
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    found = side_by_side([read_run(run), read_run(copy)])
    assert found.plans().rows == ()
    assert {item.finding.value for _, item in found.differences()} == {"equal"}
    for grid in found.grids().values():
        assert grid.rows[0][1:] == grid.rows[1][1:]
    pages = list(export([run, copy], None, predictions=False, out=tmp_path / "both"))
    assert pages[-1] == tmp_path / "both/side-by-side.html"
    text = words_of(pages[-1].read_text())
    assert "run against copy EF MAE (points) at camus +0.00 [+0.00, +0.00] 12 equal" in text
