"""Worst site, gap and mean, from score tables written by hand."""

import pandas as pd

from echofm_core.evaluation.levels import LEVEL_COLUMNS, leads, level_table
from echofm_core.evaluation.reported import reported_metric
from echofm_core.evaluation.score_table import ScoreTable

COLUMNS = ["model", "site", "task", "metric", "value", "low", "high", "patients"]


def scores(metric: str = "mae") -> pd.DataFrame:
    """The federation at A, B, C (six patients) and at X and Y, never seen; A alone at A and X."""
    rows = [
        ("federated", "A", 4.0, 40), ("federated", "B", 7.0, 20), ("federated", "C", 30.0, 6),
        ("federated", "X", 5.0, 20), ("federated", "Y", 9.0, 20), ("federated", "all", 5.0, 66),
        ("pooled", "A", 5.0, 40), ("pooled", "B", 6.0, 20), ("pooled", "X", 8.0, 20),
        ("local:A", "A", 3.0, 40),
    ]  # fmt: skip
    return pd.DataFrame(
        [(model, site, "ef", metric, value, 0, 99, n) for model, site, value, n in rows],
        columns=COLUMNS,
    )


def test_the_level_file_by_hand() -> None:
    """C is not judged; seen and unseen sites stand apart; all sites together are no site."""
    table = level_table(scores(), 10, ("X", "Y"))
    assert list(table.columns) == list(LEVEL_COLUMNS)
    assert table.drop(columns=["task", "metric"]).to_numpy().tolist() == [
        ["federated", False, "B", 7.0, 3.0, "A", 4.0, 5.5, 2],
        ["pooled", False, "B", 6.0, 1.0, "A", 5.0, 5.5, 2],
        ["local:A", False, "A", 3.0, 0.0, "A", 3.0, 3.0, 1],
        ["federated", True, "Y", 9.0, 4.0, "X", 5.0, 7.0, 2],
        ["pooled", True, "X", 8.0, 0.0, "X", 8.0, 8.0, 1],
    ]


def test_where_higher_is_better_the_lowest_is_worst() -> None:
    table = level_table(scores("r2"), 10, ("X", "Y")).iloc[0]
    assert (table["worst_site"], table["best_site"], table["gap"]) == ("A", "B", 3.0)


def test_tables_begin_with_worst_gap_and_mean_of_models_with_two_sites() -> None:
    metric = reported_metric("ef", "mae")
    assert metric
    found = leads(ScoreTable(scores(), 10, ("X", "Y")), metric)
    assert [lead.title for lead in found] == [
        "worst site", "gap", "mean",
        "worst site, never seen", "gap, never seen", "mean, never seen",
    ]  # fmt: skip
    models = ("federated", "pooled", "local:A")
    assert [[lead.text(model, 1) for model in models] for lead in found] == [
        ["7.0 (B)", "6.0 (B)", "n/a"],
        ["3.0", "1.0", "n/a"],
        ["5.5", "5.5", "n/a"],
        ["9.0 (Y)", "n/a", "n/a"],
        ["4.0", "n/a", "n/a"],
        ["7.0", "n/a", "n/a"],
    ]


def test_a_model_of_fewer_sites_says_of_how_many() -> None:
    more = scores().replace("C", "D").assign(patients=40)
    metric = reported_metric("ef", "mae")
    assert metric
    worst, gap, mean, *_ = leads(ScoreTable(more, 10, ("X", "Y")), metric)
    assert mean.text("pooled", 1) == "5.5 (of 2 sites)" and gap.text("federated", 1) == "26.0"
    assert worst.text("federated", 1) == "30.0 (D)"


def test_one_site_needs_no_summary() -> None:
    metric = reported_metric("ef", "mae")
    assert metric
    assert leads(ScoreTable(scores().iloc[:1], 10), metric) == []
