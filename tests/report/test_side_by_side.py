"""Runs beside each other: sites that train and sites never seen apart, and why a value is missing.

A small made run was tested at camus alone, on 12 patients, of whom 10 are enough.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from echofm_core.evaluation.score import MEAN_UNSEEN
from echofm_core.report.run_files import RunFiles, read_run
from echofm_core.report.side_by_side import SideBySide, write_side_by_side
from tests.pages.html import words_of
from tests.report.made_run import write_made_run

HEADING = "EF MAE (points), lower is better"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFiles:
    return read_run(write_made_run(tmp_path_factory.mktemp("beside") / "run", small=True))


def rows(*runs: RunFiles) -> list[dict[str, str]]:
    """The table of EF MAE, a row a run."""
    grid = SideBySide(runs=dict(zip("ab", runs, strict=True))).grids()[HEADING]
    return [dict(zip(grid.columns, row, strict=True)) for row in grid.rows]


def value(run: RunFiles) -> str:
    table = run.scores.set_index(["model", "site", "task", "metric"])
    return f"{table.loc[('federated', 'camus', 'ef', 'mae'), 'value']:.1f}"


def test_a_site_never_seen_has_columns_of_its_own(run: RunFiles) -> None:
    """Camus trains in the one run and is unseen in the other: each has its value in its columns,
    and the reason in the others."""
    unseen = replace(run, summary={**run.summary, "unseen": ["camus"]})
    seen, never = rows(run, unseen)
    assert seen["mean over sites"] == never["mean over sites, never seen"] == value(run)
    assert seen["sites"] == never["sites, never seen"] == "1"
    assert never["worst site"] == "n/a: no such site has labels to test on"
    assert seen["worst site, never seen"] == "n/a: no such site has labels to test on"
    assert never["sites"] == "0"
    assert "gap between sites" not in seen, "one site has no gap"
    assert not any("never seen" in column for column in rows(run, run)[0])


def test_never_seen_is_what_no_model_of_either_run_trained_on(tmp_path: Path) -> None:
    """Two hospitals are unseen in the first run; the second trained at one, or at none of them."""
    full = read_run(write_made_run(tmp_path / "run"))
    first = replace(full, summary={**full.summary, "unseen": ["camus", "echonet_dynamic"]})
    other = full.predictions["pooled"]
    for unseen, expected in (
        (["camus", "echonet_dynamic"], True), (["camus"], False), ([], False)
    ):  # fmt: skip
        second = replace(
            full,
            summary={**full.summary, "unseen": unseen},
            predictions={"federated": other},
        )
        found = SideBySide(runs={"a": first, "b": second}).differences()
        places = {item.site for _, item in found}
        assert {"camus", "echonet_dynamic"} <= places
        assert (MEAN_UNSEEN in places) is expected, unseen


def test_too_few_patients_are_named_with_their_value(run: RunFiles) -> None:
    few = replace(run, scores=run.scores.assign(patients=6))
    _, row = rows(run, few)
    assert row["worst site"] == "n/a: no site has enough test patients to judge by"
    assert row["sites"] == f"0; camus {value(run)} (n 6, too few to judge)"
    undefined = run.scores.assign(value=float("nan"))
    assert rows(run, replace(run, scores=undefined))[1]["worst site"].startswith(
        "n/a: undefined on the test patients there, 12 of them"
    )


def test_runs_that_are_not_compared_say_why(run: RunFiles, tmp_path: Path) -> None:
    absent = {"predictions": "they stay at the sites"}
    away = replace(run, folder=Path("away"), predictions={}, missing=absent)
    other = {
        name: table.assign(truth=table["truth"] + 1) for name, table in run.predictions.items()
    }
    elsewhere = {
        name: table.assign(clip_id="x" + table["clip_id"])
        for name, table in run.predictions.items()
    }
    found = SideBySide(
        runs={
            "run": run,
            "copy": run,
            "away": away,
            "other": replace(run, predictions=other),
            "elsewhere": replace(run, predictions=elsewhere),
        }
    )
    assert found.not_compared() == {
        "run against away": "away has no predictions: they stay at the sites",
        "run against other": "they disagree about the true value of a test case",
        "run against elsewhere": "no site has 10 test patients or more that both tested",
    }
    assert {runs for runs, _ in found.differences()} == {"run against copy"}
    text = words_of(write_side_by_side(found, tmp_path / "page.html").read_text())
    assert "Not shown: run against away: away has no predictions: they stay at the sites." in text


def test_the_page_says_which_runs_are_of_synthetic_data(run: RunFiles, tmp_path: Path) -> None:
    real = replace(run, summary={**run.summary, "synthetic": False})
    for runs, named in (((run, real), "a"), ((run, run), "a and b"), ((real, real), "")):
        found = SideBySide(runs=dict(zip("ab", runs, strict=True)))
        text = words_of(write_side_by_side(found, tmp_path / "page.html").read_text())
        expected = f"Synthetic data. Nothing of {named} says how a model does on patients."
        assert (expected in text) is bool(named) is ("Synthetic data." in text)
