"""Which comparisons are made, in which families, and what each is taken to say."""

import numpy as np
import pandas as pd
import pytest

from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.evaluation.holm import holm
from echofm_core.evaluation.paired import (
    COUNTED,
    PAIRED_COLUMNS,
    Finding,
    judged,
    paired_table,
)
from echofm_core.tasks import Task
from tests.evaluation.made import prediction_rows

CONFIG = EvaluationConfig(bootstrap=200, min_patients=10)
OVER, OVER_UNSEEN = ("mean of sites", "worst site"), ("mean never seen", "worst never seen")


def table(predictions: dict[str, pd.DataFrame], config: EvaluationConfig = CONFIG) -> pd.DataFrame:
    return paired_table(predictions, config, 7, 50.0)


def findings(found: pd.DataFrame, metric: str = "mae") -> dict[tuple[str, str, str], str]:
    rows = found[(found["task"] == "ef") & (found["metric"] == metric)]
    return {(row["model"], row["rival"], row["site"]): row["finding"] for _, row in rows.iterrows()}


def test_findings_follow_the_errors() -> None:
    """Errors of 3 against 12 points on the same 60 patients are told apart; two models of one
    error are not; a model's own copy is equal."""
    good, bad = (prediction_rows({"A": 60}, noise=noise) for noise in (3, 12))
    other = prediction_rows({"A": 60}, noise=3, seed=1)
    found = findings(table({"federated": good, "pooled": good, "leave_one_out": other,
                            "local:A": bad}))  # fmt: skip
    assert found["federated", "local:A", "A"] == Finding.BETTER
    assert found["federated", "leave_one_out", "A"] == Finding.UNCLEAR
    assert found["federated", "pooled", "A"] == Finding.EQUAL
    swapped = findings(table({"federated": bad, "pooled": good}))
    assert swapped["federated", "pooled", "A"] == Finding.WORSE
    swapped = findings(table({"federated": bad, "pooled": good}), "r2")
    assert swapped["federated", "pooled", "A"] == Finding.WORSE


def test_sites_with_too_few_patients_take_no_part() -> None:
    """B has nine patients, and one site is no mean."""
    two = {name: prediction_rows({"A": 20, "B": 9}, seed=n)
           for n, name in enumerate(("federated", "pooled"))}  # fmt: skip
    assert {site for _, _, site in findings(table(two))} == {"A"}
    few = EvaluationConfig(bootstrap=200, min_patients=9)
    assert {site for _, _, site in findings(table(two, few))} == {"A", "B", *OVER}


def test_sites_are_compared_together_only_where_both_models_were_tested_at_all_of_them() -> None:
    """Pooled lacks C: what it shares with the federation are not all sites."""
    sites = {"A": 20, "B": 20}
    three = prediction_rows({**sites, "C": 20})
    found = findings(table({"federated": three, "pooled": prediction_rows(sites, seed=3)}))
    assert {site for _, _, site in found} == {"A", "B"}


def test_sites_never_seen_are_compared_together_and_not_with_the_others() -> None:
    """X, Y and Z are never seen. Leave-one-out was not tested there, and means of sites are of A
    and B. A rival that lacks Z is not compared over all of them."""
    five = dict.fromkeys("ABXYZ", 20)
    made = {name: prediction_rows(five, noise=noise, seed=n)
            for n, (name, noise) in enumerate((("federated", 3), ("pooled", 9)))}  # fmt: skip
    made["leave_one_out"] = prediction_rows({"A": 20, "B": 20}, seed=5)
    rows = paired_table(made, CONFIG, 7, 50.0, ("X", "Y", "Z"))
    found = findings(rows)
    sites = {rival: {s for _, r, s in found if r == rival} for rival in ("pooled", "leave_one_out")}
    assert sites["pooled"] == {*"ABXYZ", *OVER, *OVER_UNSEEN}
    assert sites["leave_one_out"] == {"A", "B", *OVER}
    assert found["federated", "pooled", "mean never seen"] == Finding.BETTER
    patients = rows.groupby("site")["patients"].first()
    assert patients[[*OVER, *OVER_UNSEEN]].tolist() == [40, 40, 60, 60]
    half = {**made, "pooled": made["pooled"][made["pooled"]["site"] != "Z"]}
    kept = findings(paired_table(half, CONFIG, 7, 50.0, ("X", "Y", "Z")))
    assert {site for _, rival, site in kept if rival == "pooled"} == {*"ABXY", *OVER}


def test_every_network_is_compared_with_the_floor_and_a_site_alone_at_its_own_site() -> None:
    names = ("federated", "leave_one_out", "local:A", "no_network")
    made = {name: prediction_rows({"A": 20, "B": 20}, seed=n) for n, name in enumerate(names)}
    floor = {key for key in findings(table(made)) if key[1] == "no_network"}
    assert floor == {
        ("federated", "no_network", "A"), ("federated", "no_network", "B"),
        *(("federated", "no_network", site) for site in OVER),
        ("leave_one_out", "no_network", "A"), ("leave_one_out", "no_network", "B"),
        *(("leave_one_out", "no_network", site) for site in OVER),
        ("local:A", "no_network", "A"),
    }  # fmt: skip


def test_holms_families_are_one_metric_and_one_question() -> None:
    """EF MAE at A, B and in the mean: against two other models 6 comparisons; against the floor 3
    of each of three models, 9. The worst site is a condition of each mean, of no family."""
    names = ("federated", "leave_one_out", "pooled", "no_network")
    made = {name: prediction_rows({"A": 20, "B": 20}, seed=n) for n, name in enumerate(names)}
    found = table(made)
    ef = found[(found["task"] == "ef") & (found["metric"] == "mae")]
    worst, ef = ef[ef["site"] == "worst site"], ef[ef["site"] != "worst site"]
    assert len(worst) == 5 and set(worst["comparisons"]) == {1}
    assert (worst["p"] == worst["p_holm"]).all()
    others, floor = ef[ef["rival"] != "no_network"], ef[ef["rival"] == "no_network"]
    assert set(others["comparisons"]) == {6} and len(others) == 6
    assert set(floor["comparisons"]) == {9} and len(floor) == 9
    for family in (others, floor):
        assert family["p_holm"].to_numpy() == pytest.approx(holm(family["p"].to_numpy()))


def test_the_corrected_p_decides_and_not_the_interval() -> None:
    """Wherever the word is better or worse, p after Holm is below the level; there are rows whose
    own interval leaves out zero and that are still not told apart."""
    names = ("federated", *(f"local:{site}" for site in "ABCD"))
    sites = dict.fromkeys("ABCD", 30)
    made = {name: prediction_rows(sites, noise=6 + n / 2, seed=n) for n, name in enumerate(names)}
    found = table(made)
    significant = found["finding"].isin([Finding.BETTER, Finding.WORSE])
    assert (found.loc[significant, "p_holm"] < 0.05).all() and (
        found.loc[~significant, "p_holm"] >= 0.05
    ).all()
    alone = ((found["low"] > 0) | (found["high"] < 0)) & (found["site"] != "worst site")
    significant &= found["site"] != "worst site"
    assert (alone & ~significant).any() and not (significant & ~alone).any()


def test_better_in_the_mean_needs_a_worst_site_that_is_not_worse() -> None:
    """The first is better at A, B and C by far, and at D, the worst site of both, worse: 20
    patients with errors of 9 against 8. With equal errors at D it is better."""
    said = {}
    for at_d in (9, 8):
        rows = {}
        for model, errors in (("federated", (2, 2, 2, at_d)), ("pooled", (6, 6, 6, 8))):
            parts = [
                prediction_rows({site: 20}, (Task.EF,)).assign(
                    prediction=lambda x, e=error: x["truth"] + e + np.arange(20) / (10 + e)
                )
                for site, error in zip("ABCD", errors, strict=True)
            ]
            rows[model] = pd.concat(parts)
        said[at_d] = findings(table(rows))
    assert said[9]["federated", "pooled", "worst site"] == Finding.WORSE
    assert said[9]["federated", "pooled", "mean of sites"] == Finding.MEAN_ONLY
    assert said[8]["federated", "pooled", "worst site"] == Finding.EQUAL
    assert said[8]["federated", "pooled", "mean of sites"] == Finding.BETTER
    assert said[9]["federated", "pooled", "A"] == Finding.BETTER


def test_volumes_grades_and_views_are_compared() -> None:
    tasks = (Task.ESV, Task.EDV, Task.AS_GRADE, Task.VIEW)
    made = {name: prediction_rows({"A": 40}, tasks, seed=n)
            for n, name in enumerate(("federated", "pooled"))}  # fmt: skip
    assert set(table(made)["task"]) == {"esv", "edv", "as_grade", "view"}


def test_a_federation_alone_has_an_empty_table_with_its_columns() -> None:
    for predictions in ({}, {"federated": prediction_rows({"A": 20})}):
        assert list(table(predictions).columns) == [*PAIRED_COLUMNS, COUNTED]
        assert table(predictions).empty


def test_differences_that_sites_computed_are_judged_alike() -> None:
    """p = .02, .03 and, of nine patients, .001, which does not count: Holm over two gives .04 and
    .04 (the larger p may not fall below), so one is better and one is worse. The R2 has a family
    of its own; the bias is no headline, and a p that is not a number is no comparison."""
    columns = ["model", "rival", "site", "task", "metric", "value", "low", "high", "patients", "p"]
    rows = [
        ("federated", "no_network", site, "ef", metric, value, value - 1, value + 1, patients, p)
        for site, metric, value, patients, p in (
            ("A", "mae", -3.0, 20, 0.02), ("B", "mae", 2.0, 20, 0.03), ("C", "mae", -3.0, 9, 0.001),
            ("A", "r2", 0.1, 20, 0.5), ("A", "bias", 1.0, 20, 0.001),
            ("B", "r2", 0.1, 20, float("nan")),
        )
    ]  # fmt: skip
    found = judged(pd.DataFrame(rows, columns=columns), CONFIG)
    assert found[["site", "metric", "p_holm", "comparisons", "finding"]].to_numpy().tolist() == [
        ["A", "mae", 0.04, 2, "better"],
        ["B", "mae", 0.04, 2, "worse"],
        ["A", "r2", 0.5, 1, "cannot be told apart"],
    ]
