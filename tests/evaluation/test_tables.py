"""What the site x model table says, from score tables written by hand."""

import io

import pandas as pd
from rich.console import Console

from echofm_core.evaluation.headline import headlines_of
from echofm_core.evaluation.tables import (
    print_site_by_model,
    published_convention,
    site_by_model,
    sites_with_labels,
    verdict,
)

COLUMNS = ["model", "site", "task", "metric", "value", "low", "high", "patients"]
NAN = float("nan")


def scores() -> pd.DataFrame:
    """Federated beats the best single site at A without overlap, loses at B with overlap."""
    return pd.DataFrame(
        [
            ("federated", "A", "ef", "mae", 4.0, 3.5, 4.5, 40),
            ("local:A", "A", "ef", "mae", 6.0, 5.0, 7.0, 40),
            ("local:B", "A", "ef", "mae", 9.0, 8.0, 10.0, 40),
            ("federated", "B", "ef", "mae", 7.0, 6.0, 8.0, 20),
            ("local:A", "B", "ef", "mae", 9.0, 8.0, 10.0, 20),
            ("local:B", "B", "ef", "mae", 6.5, 5.5, 7.5, 20),
            ("federated", "C", "as_grade", "macro_auc", 0.7, 0.6, 0.8, 30),
            ("federated", "B", "reduced_ef", "auc", NAN, NAN, NAN, 20),
        ],
        columns=COLUMNS,
    )


def printed(table: pd.DataFrame, **kwargs: object) -> str:
    out = io.StringIO()
    print_site_by_model(table, Console(file=out, width=150), **kwargs)
    return out.getvalue()


def test_the_frame_has_models_down_and_sites_across() -> None:
    table = site_by_model(scores())
    assert list(table.index) == ["federated", "local:A", "local:B"]
    assert table.loc["federated", ("A", "EF MAE (points)")] == "4.0 [3.5, 4.5]"
    assert table.loc["local:A", ("C", "EF MAE (points)")] == "n/a"
    assert table.loc["federated", ("C", "Aortic stenosis macro AUC")] == "0.70 [0.60, 0.80]"


def test_the_verdict_names_the_winner_and_the_doubt() -> None:
    good, bad = verdict(scores())
    assert good == (
        "EF MAE (points) at A: federated 4.0 [3.5, 4.5] is better than the best single site "
        "(A alone, 6.0 [5.0, 7.0]); the intervals do not overlap."
    )
    assert bad == (
        "EF MAE (points) at B: federated 7.0 [6.0, 8.0] is WORSE than the best single site "
        "(B alone, 6.5 [5.5, 7.5]); the intervals overlap, so the difference may be chance."
    )


def test_what_reads_the_same_is_called_equal() -> None:
    """6.01 and 5.99 points are both shown as 6.0."""
    table = scores().replace({"value": {4.0: 6.01, 6.0: 5.99}})
    assert "federated 6.0" in verdict(table)[0]
    assert "is equal to the best single site (A alone, 6.0" in verdict(table)[0]


def test_one_tested_site_needs_no_pooled_column() -> None:
    """C alone has grades, so "all" would repeat it; A and B have EF, so there it is shown."""
    both = [("federated", "all", task, metric, 1.0, 0.9, 1.1, 9)
            for task, metric in (("ef", "mae"), ("as_grade", "macro_auc"))]  # fmt: skip
    table = pd.concat([scores(), pd.DataFrame(both, columns=COLUMNS)])
    ef, grade = (item for item in headlines_of(table) if item.metric in ("mae", "macro_auc"))
    assert sites_with_labels(table, ef) == ["A", "B", "all"]
    assert sites_with_labels(table, grade) == ["C"]


def test_higher_is_better_for_r2() -> None:
    """Read as R2, the best single site at A (4 against 6 and 9) is no longer A but B."""
    assert (
        "WORSE than the best single site (B alone, 9.00"
        in verdict(scores().replace({"metric": {"mae": "r2"}}))[0]
    )


def test_every_empty_cell_has_its_reason() -> None:
    text = " ".join(printed(scores(), sites=["D"]).split())
    assert "D has no EF labels to test on" in text
    assert "C has no EF labels to test on" in text
    assert "A alone: this model learned from no aortic stenosis labels" in text
    assert "federated: undefined on the 20 test patients there" in text


def test_leave_one_out_says_why_it_is_absent() -> None:
    extra = pd.DataFrame([("leave_one_out", "A", "ef", "mae", 5.0, 4.0, 6.0, 40)], columns=COLUMNS)
    text = printed(pd.concat([scores(), extra]))
    assert "leave one out: no other site has aortic stenosis labels to learn from" in text


def test_printing_nothing_says_so() -> None:
    assert "nothing to compare" in printed(scores().iloc[:0])


def test_the_published_convention_stands_beside_its_baseline() -> None:
    names = {"accuracy": 0.81, "f1_negative": 0.88, "f1": 0.4}
    names |= {"all_negative_accuracy": 0.776, "all_negative_f1": 0.874}
    rows = [("federated", "A", "reduced_ef", name, v, v, v, 9) for name, v in names.items()]
    assert published_convention(pd.DataFrame(rows, columns=COLUMNS)) == [
        "published convention (positive = normal EF), A: accuracy 0.81, F1 0.88; "
        "calling everybody normal: accuracy 0.78, F1 0.87."
    ]
