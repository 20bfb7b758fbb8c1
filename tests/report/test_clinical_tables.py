"""Agreement, calibration and subgroups as tables of a run folder."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from echofm_core.evaluation.calibration import calibration_metrics
from echofm_core.report.agreement_by_site import agreement_by_site
from echofm_core.report.calibration import calibration_chart, calibration_table
from echofm_core.report.run_files import RunFiles, read_run
from echofm_core.report.subgroups import subgroup_table
from tests.report.made_run import write_made_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFiles:
    return read_run(write_made_run(tmp_path_factory.mktemp("clinical") / "run"))


def of(run: RunFiles, task: str, site: str) -> pd.DataFrame:
    rows = run.predictions["federated"]
    return rows[(rows["task"] == task) & (rows["site"] == site)]


def test_agreement_has_a_row_a_model_and_site(run: RunFiles) -> None:
    """Bias, limits and slope against numpy, at a site with one study a patient."""
    table = agreement_by_site(run)
    assert table is not None
    assert [row[:2] for row in table.rows] == [
        (model, site)
        for model in ("federated", "leave one out")
        for site in ("camus", "echonet_dynamic", "hmc_qu")
    ]
    rows = of(run, "ef", "camus")
    error, middle = rows["prediction"] - rows["truth"], (rows["prediction"] + rows["truth"]) / 2
    _, _, n, bias, limits, slope = table.rows[0]
    reach = 1.96 * error.std(ddof=1)
    assert (n, bias) == ("12", f"{error.mean():+z.1f}")
    assert limits == f"{error.mean() - reach:+z.1f} to {error.mean() + reach:+z.1f}"
    assert slope.startswith(f"{np.polyfit(middle, error, 1)[0]:+z.2f} [")
    assert table.rows[2][2:] == ("7", "too few to judge", "", "")


def test_calibration_has_a_row_a_model_and_site(run: RunFiles) -> None:
    table = calibration_table(run)
    assert table is not None and len(table.rows) == 6
    rows = of(run, "reduced_ef", "echonet_dynamic").sort_values("patient_id")
    positive, chance = rows["truth"].to_numpy() > 0.5, rows["prediction"].to_numpy()
    expected = calibration_metrics(positive, chance, np.ones((1, len(rows))))
    names = ("intercept", "slope", "expected_error", "brier")
    for cell, name in zip(table.rows[1][3:], names, strict=True):
        assert cell.startswith(f"{expected[name][0]:z.2f}")
    assert table.rows[2][2:4] == ("7", "too few to judge")
    chart = calibration_chart(run)
    assert chart and "hmc_qu" not in chart.words and "camus" in chart.words


def test_subgroups_hide_small_cells(run: RunFiles) -> None:
    """Of 51 patients with EF 26 have an even number, 7 of the 51 one that ends in nought (2 at
    camus, 4 at EchoNet, 1 at HMC-QU): hidden. No vendor is recorded, one view is there."""
    table = subgroup_table(run)
    assert table is not None
    rows = {row[1:3]: row[3:] for row in table.rows if row[0] == "federated"}
    assert rows["sex", "F"][0] == "26" and rows["sex", "M"][0] == "25"
    assert rows["quality", "Poor"] == ("< 10", "not shown", "")
    assert {attribute for attribute, _ in rows} == {"sex", "age", "quality"}


def test_without_predictions_there_is_none(tmp_path: Path) -> None:
    empty = read_run(tmp_path)
    assert agreement_by_site(empty) is None and subgroup_table(empty) is None
    assert calibration_table(empty) is None and calibration_chart(empty) is None
