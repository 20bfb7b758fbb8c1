"""A comparison under two names is one; of one model under two names it is none."""

import pandas as pd
import pytest

from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.evaluation.holm import holm
from echofm_core.evaluation.over_seeds import paired_over_seeds
from echofm_core.evaluation.paired import Finding, paired_table
from echofm_core.tasks import Task
from tests.evaluation.made import prediction_rows

CONFIG = EvaluationConfig(bootstrap=200, min_patients=10)
SITES = {"A": 20, "B": 20}


def models() -> dict[str, pd.DataFrame]:
    """A federation, both sites alone and, as in a study, each of these at home as one row."""
    names = ("federated", "local:A", "local:B")
    found = {name: prediction_rows(SITES, (Task.EF,), seed=n) for n, name in enumerate(names)}
    home = [rows[rows["site"] == site] for site, rows in
            (("B", found["local:B"]), ("A", found["local:A"]))]  # fmt: skip
    return {**found, "local": pd.concat(home, ignore_index=True)}


def mae(table: pd.DataFrame) -> pd.DataFrame:
    kept = table[(table["metric"] == "mae") & (table["site"] != "worst site")]
    return kept.set_index(["rival", "site"])


def test_a_site_alone_counts_once_at_home_whatever_its_names() -> None:
    """Against local:A and local:B at A, B and in the mean, against local in the mean: 7 tests. The
    rows of local:A at A and local:B at B stand there with the corrected p of the same test."""
    found = mae(paired_table(models(), CONFIG, 7, 50.0))
    assert len(found) == 9 and set(found["comparisons"]) == {7}
    once = found[found["counted"]]
    assert set(found.index) - set(once.index) == {("local:A", "A"), ("local:B", "B")}
    assert once["p_holm"].to_numpy() == pytest.approx(holm(once["p"].to_numpy()))
    for site in "AB":
        again, first = found.loc[(f"local:{site}", site)], found.loc[("local", site)]
        assert again.drop("counted").equals(first.drop("counted"))


def test_against_the_floor_too() -> None:
    """Three models and the row of all at home: federated and local at A, B and in the mean, and
    the sites alone at home, which repeat local: 6 tests of 8 rows."""
    made = {**models(), "no_network": prediction_rows(SITES, (Task.EF,), seed=9)}
    table = paired_table(made, CONFIG, 7, 50.0)
    floor = mae(table[table["rival"] == "no_network"])
    assert len(floor) == 8 and floor["counted"].sum() == 6 and set(floor["comparisons"]) == {6}


def test_two_models_that_predict_the_same_are_no_test() -> None:
    """A copy whose rows stand in another order adds nothing to the family: 3 tests as without it.
    One prediction that differs makes it a test again, at its site and in the mean."""
    ours, other = (prediction_rows(SITES, (Task.EF,), seed=n) for n in (0, 1))
    copied = ours.sample(frac=1, random_state=0).reset_index(drop=True)
    found = mae(paired_table({"federated": ours, "pooled": copied, "fedprox": other},
                             CONFIG, 7, 50.0))  # fmt: skip
    copy, real = found.loc["pooled"], found.loc["fedprox"]
    assert not copy["counted"].any() and set(copy["finding"]) == {Finding.EQUAL.value}
    assert set(copy["p_holm"]) == {1.0}
    assert real["counted"].all() and set(found["comparisons"]) == {3}
    first_of_a = copied.index[copied["site"] == "A"][0]
    copied.loc[first_of_a, "prediction"] += 1e-3
    changed = mae(paired_table({"federated": ours, "pooled": copied, "fedprox": other},
                               CONFIG, 7, 50.0)).loc["pooled"]  # fmt: skip
    assert changed["counted"].to_dict() == {"A": True, "B": False, "mean of sites": True}


def test_grades_differ_by_their_probabilities() -> None:
    """The same class by another probability is another prediction."""
    rows = prediction_rows({"A": 20}, (Task.AS_GRADE,), noise=0.1)
    softer = rows.assign(p0=0.9 * rows["p0"] + 0.02, p4=0.9 * rows["p4"] + 0.02)
    found = paired_table({"federated": rows, "pooled": softer}, CONFIG, 7, 50.0)
    assert found["counted"].all()


def test_over_seeds_models_are_alike_where_they_are_in_each_seed() -> None:
    """local:A is local at A in both seeds; with another model of one seed it is a test of its own,
    and so is the mean."""
    first, second = models(), {name: rows.assign(prediction=rows["prediction"] + 1)
                               for name, rows in models().items()}  # fmt: skip
    alike = mae(paired_over_seeds({k: [first[k], second[k]] for k in first}, CONFIG, 7, 50.0))
    assert set(alike["comparisons"]) == {7}
    moved = second["local:A"].assign(prediction=second["local:A"]["prediction"] + 1)
    second = {**second, "local:A": moved}
    other = mae(paired_over_seeds({k: [first[k], second[k]] for k in first}, CONFIG, 7, 50.0))
    assert set(other["comparisons"]) == {8}
    assert not other.loc[("local:B", "B"), "counted"] and other.loc[("local:A", "A"), "counted"]
