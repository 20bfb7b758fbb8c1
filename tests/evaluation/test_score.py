"""Study means, sites, and the pooled row, on tables small enough to do by hand."""

import numpy as np
import pandas as pd
import pytest

from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.evaluation.score import score, study_cases
from echofm_core.evaluation.score import test_sets as sets_of
from echofm_core.report.charts import bland_altman
from echofm_core.tasks import Task
from tests.evaluation.made import prediction_rows

CONFIG = EvaluationConfig(bootstrap=200)


def scored(rows: pd.DataFrame) -> pd.DataFrame:
    return score(rows, CONFIG, np.random.default_rng(0), 50.0)


def value(scores, site, metric, column="value"):
    rows = scores[(scores["site"] == site) & (scores["metric"] == metric)]
    assert len(rows) == 1
    return float(rows[column].iloc[0])


def ef_rows() -> pd.DataFrame:
    """Site A: patient p with study s1 (clips 50, 60 for truth 60) and s2 (clip 44 for 40), and
    patient q with one study (70 for 72). Site B: a patient also called p (30 for 20)."""
    return pd.DataFrame(
        [
            ("a", "A", "p", "s1", "c1", 60.0, 50.0),
            ("a", "A", "p", "s1", "c2", 60.0, 60.0),
            ("a", "A", "p", "s2", "c3", 40.0, 44.0),
            ("a", "A", "q", "s3", "c4", 72.0, 70.0),
            ("b", "B", "p", "s1", "c5", 20.0, 30.0),
        ],
        columns=["dataset", "site", "patient_id", "study_id", "clip_id", "truth", "prediction"],
    ).assign(task="ef", view="A4C")


def test_clips_are_averaged_before_the_error() -> None:
    """Study errors at A: 55-60 = -5, +4, -2: MAE 11/3, bias -1; at B +10; together 21/4."""
    scores = scored(ef_rows())
    assert value(scores, "A", "mae") == pytest.approx(11 / 3)
    assert value(scores, "A", "bias") == pytest.approx(-1)
    assert value(scores, "B", "mae") == pytest.approx(10)
    assert value(scores, "all", "mae") == pytest.approx(21 / 4)


def test_unseen_sites_are_no_part_of_all_sites() -> None:
    """Errors at A -5, +4, -2, at B +10; with B never seen, A alone is no set of several. C, a copy
    of B, makes all sites A and C; with both never seen, these two are a set."""
    rows = ef_rows()
    third = rows[rows["site"] == "B"].assign(site="C", dataset="c", clip_id="c6")
    rows = pd.concat([rows, third])

    def found(table: pd.DataFrame, *unseen: str) -> dict[str, float]:
        scores = score(table, CONFIG, np.random.default_rng(0), 50.0, unseen)
        return dict(scores.loc[scores["metric"] == "mae", ["site", "value"]].to_numpy())

    assert found(ef_rows(), "B") == pytest.approx({"A": 11 / 3, "B": 10})
    assert found(rows, "B") == pytest.approx({"A": 11 / 3, "C": 10, "all": 21 / 4, "B": 10})
    both = found(rows, "B", "C", "nowhere")
    assert both == pytest.approx({"A": 11 / 3, "B": 10, "C": 10, "never seen": 10})
    cases = study_cases(rows, Task.EF)
    assert sets_of(cases, {"B", "C"})["never seen"].patient_count == 2


def test_images_of_a_study_are_averaged_before_its_class_is_told() -> None:
    """Three classes. Study s1, class 2: its images say (.6, 0, .4) and (0, .3, .7), so (.3, .15,
    .55), class 2, though half of them say 0. Study s2, class 0: (.9, .1, 0). All correct."""
    columns = ["dataset", "site", "patient_id", "study_id", "clip_id", "truth", "p0", "p1", "p2"]
    rows = pd.DataFrame(
        [
            ("t", "T", "p", "s1", "s1_0", 2.0, 0.6, 0.0, 0.4),
            ("t", "T", "p", "s1", "s1_1", 2.0, 0.0, 0.3, 0.7),
            ("t", "T", "q", "s2", "s2_0", 0.0, 0.9, 0.1, 0.0),
        ],
        columns=columns,
    ).assign(task="as_class", prediction=0.0, view="PLAX")
    cases = study_cases(rows, Task.AS_CLASS)
    np.testing.assert_allclose(cases.prediction, [[0.3, 0.15, 0.55], [0.9, 0.1, 0]])
    assert cases.truth.tolist() == [2, 0]
    scores = scored(rows)
    assert value(scores, "T", "accuracy") == value(scores, "T", "macro_auc") == 1
    assert value(scores, "T", "quadratic_kappa") == pytest.approx(1)


def test_patients_are_counted_by_data_set() -> None:
    scores = scored(ef_rows())
    assert [value(scores, site, "mae", "patients") for site in ("A", "B", "all")] == [2, 1, 3]


def test_an_unknown_study_is_its_own_study() -> None:
    rows = ef_rows().assign(study_id=None)
    assert len(study_cases(rows, Task.EF).truth) == 5


def test_views_are_counted_by_clip() -> None:
    rows = prediction_rows({"A": 3}, tasks=(Task.VIEW,), clips=2)
    assert len(study_cases(rows, Task.VIEW).truth) == 6


def test_a_failed_clip_is_not_scored_by_its_neighbours() -> None:
    rows = ef_rows()
    rows.loc[0, "prediction"] = np.nan
    scores = scored(rows)
    assert np.isnan(value(scores, "A", "mae")) and value(scores, "B", "mae") == 10


def test_equal_generators_draw_equal_patients_whatever_else_is_scored() -> None:
    """A site's interval is the same whether or not another site is in the table."""
    both = scored(prediction_rows({"A": 20, "B": 20}))
    alone = scored(prediction_rows({"A": 20}))
    for column in ("value", "low", "high"):
        first, second = (
            value(part[part["task"] == "ef"], "A", "r2", column) for part in (both, alone)
        )
        assert first == second


def test_no_labels_no_rows() -> None:
    empty = ef_rows().iloc[:0]
    assert scored(empty).empty
    assert list(scored(empty).columns) == [
        "site", "task", "metric", "value", "low", "high", "patients",
    ]  # fmt: skip


def test_bland_altman_by_hand() -> None:
    """Differences 1, 3: mean 2, sd sqrt(2): limits 2 -/+ 1.96 * 1.4142."""
    found = bland_altman(np.array([10.0, 20.0]), np.array([11.0, 23.0]))
    assert (found.bias, found.low, found.high) == pytest.approx(
        (2, 2 - 1.96 * 2**0.5, 2 + 1.96 * 2**0.5)
    )
    assert found.cases == 2


def test_bland_altman_of_nothing_is_undefined() -> None:
    assert np.isnan(bland_altman(np.zeros(0), np.zeros(0)).bias)
    assert np.isnan(bland_altman(np.ones(1), np.zeros(1)).low)
