"""The table of AUC tests has the rows of the paired table, and both of their p."""

from pathlib import Path

import pandas as pd
import pytest

from echofm_core.report.auc_tests import auc_test_table
from echofm_core.report.run_files import read_run
from tests.report.made_run import write_made_run


def test_both_tests_stand_side_by_side(tmp_path: Path) -> None:
    """A row each rival and site with enough patients; p of the bootstrap as it stands in the
    file, the difference as there, DeLong's p of the same order."""
    run = write_made_run(tmp_path / "run", patients=3)
    table = auc_test_table(read_run(run))
    paired = pd.read_parquet(run / "paired.parquet")
    rows = paired[(paired["metric"] == "auc") & (paired["model"] == "federated")]
    single = rows[~rows["site"].isin(["mean of sites", "worst site"])]
    assert table and len(table.rows) == len(single)
    for (_, _, n, difference, delong, boot), row in zip(
        table.rows, single.itertuples(), strict=True
    ):
        assert (n, boot) == (str(row.patients), f"{row.p:.3f}")
        assert float(difference.split()[0]) == pytest.approx(row.value, abs=5e-4)
        assert float(delong) == pytest.approx(row.p, abs=0.25)


def test_one_patient_alone_of_a_class_leaves_no_interval(tmp_path: Path) -> None:
    """DeLong's variance needs two patients of each class; the difference of AUCs does not."""
    run = write_made_run(tmp_path / "run", small=True)
    for path in (run / "predictions").glob("*.parquet"):
        table = pd.read_parquet(path)
        here = (table["site"] == "camus") & (table["task"] == "reduced_ef")
        first = table.loc[here, "patient_id"].iloc[0]
        table.loc[here, "truth"] = (table.loc[here, "patient_id"] == first).astype(float)
        table.to_parquet(path)
    table = auc_test_table(read_run(run))
    assert table and len(table.rows) == 1
    _, _, _, difference, delong, _ = table.rows[0]
    assert delong == "undefined" and -1 <= float(difference) <= 1


def test_there_is_none_without_predictions(tmp_path: Path) -> None:
    assert auc_test_table(read_run(tmp_path)) is None
