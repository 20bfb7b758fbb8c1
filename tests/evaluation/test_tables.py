"""What the site x model table says, from score tables written by hand."""

import io

import pandas as pd
from rich.console import Console

from echofm_core.evaluation.decisions import published_convention
from echofm_core.evaluation.reported import reported_metrics
from echofm_core.evaluation.score_table import ScoreTable
from echofm_core.report.card import site_by_model
from echofm_core.report.words import print_site_by_model

COLUMNS = ["model", "site", "task", "metric", "value", "low", "high", "patients"]
NAN = float("nan")


def scores() -> pd.DataFrame:
    """A and B have EF, C has grades; the federated AUC at B is undefined."""
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


def test_too_few_patients_are_said_in_the_cell() -> None:
    """B has 20 patients: 21 are wanted."""
    table = site_by_model(scores(), few=21)
    assert table.loc["federated", ("B", "EF MAE (points)")] == "7.0 (n 20, too few to judge)"
    assert table.loc["federated", ("A", "EF MAE (points)")] == "4.0 [3.5, 4.5]"
    text = printed(scores(), few=21)
    assert "7.0 (n 20, too few to judge)" in text and "B (n 20)" in text and "A (n 40)" in text


def test_a_score_over_fewer_sites_than_anothers_says_so() -> None:
    """60 patients at A and B; the floor has none at B, so that its "all" is A's 40."""
    rows = [
        ("federated", "A", "ef", "mae", 4.0, 3.5, 4.5, 40),
        ("federated", "B", "ef", "mae", 7.0, 6.0, 8.0, 20),
        ("federated", "all", "ef", "mae", 5.0, 4.5, 5.5, 60),
        ("no_network", "A", "ef", "mae", 4.5, 4.0, 5.0, 40),
        ("no_network", "all", "ef", "mae", 4.5, 4.0, 5.0, 40),
    ]
    table = site_by_model(pd.DataFrame(rows, columns=COLUMNS))
    metric = "EF MAE (points)"
    assert table.loc["federated", ("all sites", metric)] == "5.0 [4.5, 5.5]"
    assert table.loc["no_network", ("all sites", metric)] == "4.5 [4.0, 5.0] (n 40 of 60)"
    assert table.loc["no_network", ("A", metric)] == "4.5 [4.0, 5.0]"


def test_on_a_narrow_terminal_a_table_is_in_parts_and_no_number_is_cut_off() -> None:
    """Ten sites of intervals of 13 characters need 160 columns side by side; there are 80."""
    rows = [
        ("federated", f"hospital_{n}", "ef", "r2", -0.1 * n, -1 - n, -0.01 * n, 40)
        for n in range(10)
    ]
    out = io.StringIO()
    print_site_by_model(pd.DataFrame(rows, columns=COLUMNS), Console(file=out, width=80))
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= 80 and "…" not in text
    for n in range(10):
        assert f"hospital_{n} " in text and f"[{-1 - n:.2f}, {-0.01 * n:z.2f}]" in text
    assert text.count("EF R²") > 2


def test_volumes_and_views_have_tables_too() -> None:
    rows = [("federated", "A", task, metric, 0.5, 0.4, 0.6, 40)
            for task, metric in (("esv", "mae"), ("edv", "r2"), ("view", "macro_f1"))]  # fmt: skip
    text = printed(pd.DataFrame(rows, columns=COLUMNS))
    for title in ("ESV MAE (ml), lower is better", "EDV R²", "View macro F1"):
        assert title in text


def test_measurements_have_the_same_three_metrics() -> None:
    """Of EF and both volumes: MAE, R² as of EchoNet-Dynamic, Pearson's r as of CAMUS."""
    metrics = ("mae", "r2", "pearson")
    rows = [("federated", "A", task, metric, 0.5, 0.4, 0.6, 40)
            for task in ("ef", "esv", "edv") for metric in metrics]  # fmt: skip
    table = pd.DataFrame(rows, columns=COLUMNS)
    text, columns = printed(table), [title for _, title in site_by_model(table).columns]
    for name, unit in (("EF", "points"), ("ESV", "ml"), ("EDV", "ml")):
        assert f"{name} Pearson r, higher is better" in text
        assert {f"{name} MAE ({unit})", f"{name} R²", f"{name} Pearson r"} < set(columns)


def test_one_tested_site_needs_no_pooled_column() -> None:
    """C alone has grades, so "all" would repeat it; A and B have EF, so there it is shown."""
    both = [("federated", "all", task, metric, 1.0, 0.9, 1.1, 9)
            for task, metric in (("ef", "mae"), ("as_grade", "macro_auc"))]  # fmt: skip
    table = pd.concat([scores(), pd.DataFrame(both, columns=COLUMNS)])
    ef, grade = (item for item in reported_metrics(table) if item.metric in ("mae", "macro_auc"))
    assert ScoreTable(table).sites_with_labels(ef) == ["A", "B", "all"]
    assert ScoreTable(table).sites_with_labels(grade) == ["C"]


def test_every_empty_cell_has_its_reason() -> None:
    text = " ".join(printed(scores(), sites=["D"]).split())
    assert "D has no EF labels to test on" in text
    assert "C has no EF labels to test on" in text
    assert "A alone: this model learned from no aortic stenosis labels" in text
    assert "federated: undefined on the test patients there, 20 of them" in text


def test_a_model_of_each_sites_own_says_why_it_has_no_score_where_none_trained() -> None:
    """local:A has EF scores at A and B; C, with EF labels, took no part in training."""
    at_c = pd.DataFrame([("federated", "C", "ef", "mae", 4.0, 3.0, 5.0, 30)], columns=COLUMNS)
    text = " ".join(printed(pd.concat([scores(), at_c]), unseen=["C"]).split())
    assert "A alone: each site has a model of its own, and none trained there" in text


def test_the_floor_says_how_many_patients_it_needs() -> None:
    """B may have labels to learn from, one to four of them: the floor's folds are five."""
    extra = pd.DataFrame([("no_network", "A", "ef", "mae", 5.0, 4.0, 6.0, 40)], columns=COLUMNS)
    text = " ".join(printed(pd.concat([scores(), extra])).split())
    said = "no network (ridge): B has fewer than 5 labelled training patients for EF"
    assert said in text and "no network (ridge): this model learned" not in text


def test_a_site_never_seen_is_marked_and_comes_last() -> None:
    """B is never seen: leave-one-out has no model for it, the floor is of those that train."""
    extra = [("leave_one_out", "A", "ef", "mae", 5.0, 4.0, 6.0, 40),
             ("no_network", "A", "ef", "mae", 5.0, 4.0, 6.0, 40)]  # fmt: skip
    table = pd.concat([scores(), pd.DataFrame(extra, columns=COLUMNS)])
    text = " ".join(printed(table, unseen=["B"]).split())
    assert "B (never seen) (n 20)" in text and "A (n 40)" in text
    assert "leave one out: no model trained there, so that none leaves it out" in text
    assert "the sites that train have fewer than 5 labelled training patients for EF" in text
    assert ScoreTable(table, unseen=["A"]).sites == ["B", "C", "A"]


def test_leave_one_out_says_why_it_is_absent() -> None:
    extra = pd.DataFrame([("leave_one_out", "A", "ef", "mae", 5.0, 4.0, 6.0, 40)], columns=COLUMNS)
    text = printed(pd.concat([scores(), extra]))
    assert "leave one out: no other site has aortic stenosis labels to learn from" in text


def test_cells_are_of_the_table_that_is_asked() -> None:
    """Also where it lies where another one did; and the first of equal rows counts."""
    (metric, *_) = reported_metrics(scores())
    for value in (1.0, 2.0, 3.0):
        table = scores().assign(value=value)
        table = pd.concat([table, table.assign(value=9.0)], ignore_index=True)
        model, site = table.loc[table["task"] == metric.task.value, ["model", "site"]].iloc[0]
        assert ScoreTable(table, 1).cell(model, site, metric).value == value
        del table


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
