"""Contrasts of models and their intervals, by hand."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy import stats

from benchmarks.federation.contrast import CONFIG, Contrast, Term, _interval, measured
from benchmarks.federation.predictions import EF_R2, Key, Predictions
from echofm_core.evaluation.bootstrap import Statistic, paired_difference
from echofm_core.evaluation.metrics import task_metrics
from echofm_core.evaluation.over_seeds import mean_of
from echofm_core.runtime.randomness import stream
from echofm_core.tasks import Task
from tests.benchmarks.federation.made import ef_rows

TRUTH = (40.0, 50.0, 60.0)
#: R2 1, and 0.75: squared errors of 2 * 25 over 200.
EXACT, NEAR = (40, 50, 60), (45, 50, 55)
#: R2 0: the mean of the truth.
MEAN = (50, 50, 50)


def contrast(*sites: str) -> Contrast:
    return Contrast(
        what="ours less half of theirs",
        measure=EF_R2,
        parts=dict.fromkeys(sites, (Term("x", "ours", 1.0), Term("x", "theirs", -0.5))),
    )


def test_it_is_the_mean_over_seeds_and_sites_of_the_weighted_sum() -> None:
    """Seed 1: at a 1 - 0.75 / 2, at b 0.75 - 1 / 2; seed 2: 0 - 0.75 / 2 and 1 - 0."""
    found = Predictions({
        Key("x", "ours", 1): ef_rows({"a": EXACT, "b": NEAR}, TRUTH),
        Key("x", "theirs", 1): ef_rows({"b": EXACT, "a": NEAR}, TRUTH),
        Key("x", "ours", 2): ef_rows({"a": MEAN, "b": EXACT}, TRUTH),
        Key("x", "theirs", 2): ef_rows({"a": NEAR, "b": MEAN}, TRUTH),
    })  # fmt: skip
    answer = measured(contrast("a", "b"), found)
    assert answer.each == pytest.approx({1: (0.625 + 0.25) / 2, 2: (-0.375 + 1) / 2})
    assert answer.value == pytest.approx(0.375)
    assert answer.low < answer.value < answer.high


def test_a_model_less_itself_is_zero_with_no_width() -> None:
    rows = ef_rows({"a": (41, 52, 57)}, TRUTH)
    found = Predictions({Key("x", "ours", seed): rows for seed in (1, 2)})
    same = Contrast(
        what="", measure=EF_R2, parts={"a": (Term("x", "ours", 1.0), Term("x", "ours", -1.0))}
    )
    answer = measured(same, found)
    assert (answer.value, answer.low, answer.high) == (0, 0, 0)


def test_models_of_other_patients_are_not_compared() -> None:
    found = Predictions({
        Key("x", "ours", 1): ef_rows({"a": EXACT}, TRUTH),
        Key("x", "theirs", 1): ef_rows({"a": EXACT[:2]}, TRUTH[:2]),
    })  # fmt: skip
    with pytest.raises(RuntimeError, match=r"less half of theirs: .* other patients of a"):
        measured(contrast("a"), found)


def test_an_interval_has_both_the_spread_of_seeds_and_that_of_patients() -> None:
    """Seeds alone: Student's t of two values. Patients alone: of their degrees of freedom.

    Both: the sum of variances, with Satterthwaite's degrees of freedom.
    """
    each, error = np.array([0.1, 0.3]), 0.05
    seeds = _interval(each, 0.0, 50, (1, 2))
    assert (seeds.low, seeds.high) == pytest.approx(stats.t.interval(0.95, 1, 0.2, 0.1))
    patients = _interval(each[:1], error**2, 50, (1,))
    assert (patients.low, patients.high) == pytest.approx(stats.t.interval(0.95, 50, 0.1, error))
    both = _interval(each, error**2, 50, (1, 2))
    free = (0.05**2 + 0.1**2) ** 2 / (0.05**4 / 50 + 0.1**4 / 1)
    whole = float(np.hypot(0.05, 0.1))
    assert (both.low, both.high) == pytest.approx(stats.t.interval(0.95, free, 0.2, whole))


def test_patients_are_drawn_with_all_their_seeds() -> None:
    """Both seeds err at the same patients: their mean varies with patients as one of them does."""
    rng = np.random.default_rng(3)
    truth = rng.uniform(30, 70, 60)
    rows = ef_rows({"a": truth + rng.normal(0, 8, 60)}, truth)
    exact = ef_rows({"a": truth}, truth)
    one = {Key("x", "ours", 1): exact, Key("x", "theirs", 1): rows}
    two = one | {Key("x", "ours", 2): exact, Key("x", "theirs", 2): rows}
    once, twice = (measured(contrast("a"), Predictions(found)) for found in (one, two))
    assert (twice.value, twice.low, twice.high) == pytest.approx((once.value, once.low, once.high))
    assert once.high - once.low > 0.01


def test_the_error_over_patients_is_that_of_the_mean_over_seeds() -> None:
    """The product's paired bootstrap of the mean over seeds, on the same draws: its interval is the
    error times Student's t. Seeds err at other patients, so that one alone has another error. At
    two sites of one model a mean has the root of the sum of squares, halved.
    """
    rng, count = np.random.default_rng(3), 60
    truth = rng.uniform(30, 70, count)
    found = {
        Key("x", name, seed): ef_rows(
            {site: truth + rng.normal(0, 4 * seed, count) for site in ("a", "b")}, truth
        )
        for name in ("ours", "theirs")
        for seed in (1, 2)
    }
    both = Predictions(found)

    def mean(model: str, site: str) -> Statistic:
        cases = [both.cases(Key("x", model, seed), site, Task.EF) for seed in (1, 2)]
        return mean_of([partial(task_metrics, Task.EF, one.truth, one.prediction, threshold=50.0)
                        for one in cases])  # fmt: skip

    errors = {}
    for site in ("a", "b"):
        patients = both.cases(Key("x", "ours", 1), site, Task.EF).patients
        draws = stream(0, site, 0, "benchmark.paired")
        ends = paired_difference(mean("ours", site), mean("theirs", site), patients, CONFIG, draws)[
            "r2"
        ]
        errors[site] = (ends.high - ends.value) / stats.t.ppf(0.975, count - 1)
    less = (Term("x", "ours", 1.0), Term("x", "theirs", -1.0))
    for sites in (("a",), ("a", "b")):
        asked = Contrast(what="", measure=EF_R2, parts=dict.fromkeys(sites, less))
        answer = measured(asked, both)
        variance = sum(errors[site] ** 2 for site in sites) / len(sites) ** 2
        each = np.array(list(answer.each.values()))
        expected = _interval(each, variance, len(sites) * (count - 1), (1, 2))
        assert (answer.low, answer.high) == pytest.approx((expected.low, expected.high))
