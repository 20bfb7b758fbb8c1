"""Ranks over sites are drawn from five sites on, of the models that were tested at all of them."""

from pathlib import Path

import pandas as pd

from echofm_core.report.rank_chart import rank_charts
from echofm_core.report.run_files import read_run

COLUMNS = ["model", "site", "task", "metric", "value", "low", "high", "patients"]


def run_with(folder: Path, sites: str) -> Path:
    """The federation is best at each site, the floor worst; A alone was tested at A."""
    rows = [
        (model, site, "ef", "mae", value, value - 1, value + 1, 20)
        for model, value in (("federated", 4.0), ("pooled", 5.0), ("no_network", 9.0))
        for site in sites
    ]
    rows.append(("local:A", "A", "ef", "mae", 3.0, 2.0, 4.0, 20))
    rows.append(("federated", "Z", "ef", "mae", 1.0, 0.5, 1.5, 9))
    pd.DataFrame(rows, columns=COLUMNS).to_parquet(folder / "scores.parquet")
    return folder


def test_five_sites_are_ranked(tmp_path: Path) -> None:
    """Three models and five sites: a critical difference of 2.343 * sqrt(12 / 30) = 1.48, so that
    ranks 1 and 3 differ, and neighbours do not. Z has too few patients."""
    charts, reasons = rank_charts(read_run(run_with(tmp_path, "ABCDE")))
    assert reasons == [] and [chart.words for chart in charts] == [
        "EF MAE (points): mean rank over 5 sites, Friedman's p 0.007: federated 1.00, pooled 2.00, "
        "no network (ridge) 3.00. Not told apart: federated = pooled; pooled = no network (ridge)"
    ]
    assert charts[0].uri.startswith("data:image/svg+xml;base64,")


def test_four_sites_are_not(tmp_path: Path) -> None:
    charts, reasons = rank_charts(read_run(run_with(tmp_path, "ABCD")))
    assert charts == []
    assert reasons == [
        "Ranks of models over sites need at least 5 sites; there are fewer (EF MAE (points): 4)."
    ]


def test_without_scores_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert rank_charts(read_run(tmp_path)) == ([], [])
