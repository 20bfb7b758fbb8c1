"""The table of conformal intervals: which patients a width is found on, and what it then covers."""

from pathlib import Path

import pytest

from echofm_core.report.conformal import conformal_table
from echofm_core.report.run_files import read_run
from echofm_core.tasks import Task
from tests.evaluation.made import prediction_rows


def write(folder: Path, name: str, sites: dict[str, int], error: float) -> None:
    """Predictions that are off by exactly so many points."""
    rows = prediction_rows(sites, (Task.EF,))
    rows = rows.assign(prediction=rows["truth"] + error, model=Path(name).stem)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    rows.to_parquet(folder / name)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Validation errors of 3 points for the federation and of 5 without B; test errors of 2, at C
    (few) and B too."""
    write(tmp_path, "predictions/federated.parquet", {"A": 12, "B": 12, "C": 9}, 2)
    write(tmp_path, "predictions/leave_one_out.parquet", {"A": 12, "B": 12}, 6)
    write(tmp_path, "validation/federated.parquet", {"A": 20}, 3)
    write(tmp_path, "validation/without-B.parquet", {"A": 15}, 5)
    return tmp_path


def test_widths_are_of_the_sites_that_trained_the_model(run: Path) -> None:
    """Radius 3 covers errors of 2; radius 5 covers none of 6. A was left out by no arm that has
    validation patients here."""
    table = conformal_table(read_run(run))
    assert table is not None
    assert [row[:5] for row in table.rows] == [
        ("federated", "A", "yes", "12", "100%"),
        ("federated", "B", "yes", "12", "100%"),
        ("federated", "C", "yes", "9", "too few to judge"),
        ("leave one out", "B", "no", "12", "0%"),
    ]
    assert table.rows[0][5:] == ("6.0", "20 validation patients")
    assert table.rows[3][5:] == ("10.0", "15 validation patients")


def test_without_validation_patients_there_is_none(run: Path) -> None:
    for path in (run / "validation").iterdir():
        path.unlink()
    assert conformal_table(read_run(run)) is None
