from __future__ import annotations

import math
from dataclasses import replace

import pytest

from echofm_core.contract import Score, Scored, SiteResult, score_name
from echofm_core.runtime.errors import RefusedUpdateError
from echofm_core.tasks import Task
from server.result_admission import ENDS, ExpectedResult, admit_result, metric_names

EXPECTED = ExpectedResult(
    site="a", plan_hash="p" * 64, digest="d" * 64, most_patients={"ef": 4, "as_grade": 0}
)
UNDEFINED = Score(value=math.nan, low=math.nan, high=math.nan)


def result(scores: dict[str, Score] | None = None, **changes: object) -> SiteResult:
    """Four patients with an EF; every metric 0.5 in [0.4, 0.6]."""
    good = {
        score_name(Scored.MODEL, "ef", metric): Score(value=0.5, low=0.4, high=0.6)
        for metric in metric_names(Task.EF)
    }
    whole = SiteResult(
        site="a",
        plan_hash="p" * 64,
        digest="d" * 64,
        patients={"ef": 4},
        scores={**good, **(scores or {})},
    )
    return replace(whole, **changes)  # type: ignore[arg-type]


def scored(name: str, value: float, *ends: float) -> SiteResult:
    """One score among good ones; ends are low, high and p."""
    return result({name: Score(value, *(*ends, *[math.nan] * 3)[:3])})


def test_a_good_result_is_admitted() -> None:
    """With the floor beside it, a difference below zero, and what is not defined."""
    floor = {
        "no_network/ef/mae": Score(value=7.0, low=6.0, high=8.0),
        "federated_minus_no_network/ef/mae": Score(value=-2.0, low=-3.0, high=-1.0, p=0.01),
        "federated_minus_no_network/ef/reduced_auc": Score(value=-0.2, low=-0.3, high=0.1),
        "federated_minus_no_network/ef/pearson": Score(value=-0.9, low=-5.7, high=3.9, p=0.6),
        "federated/ef/r2": UNDEFINED,
        "federated/ef/pearson": Score(value=0.5, low=math.nan, high=math.nan),
    }
    admit_result(result(floor), EXPECTED)


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (result(site="b"), "site is 'b', expected 'a'"),
        (result(plan_hash="q" * 64), "plan hash is 'qqq"),
        (result(digest="e" * 64), "digest of the tested weights is 'eee"),
        (result(audit_head="Doe^John"), "head of its audit is 'Doe"),
        (result(patients={}), "no task has test patients"),
        (result(patients={"ef": 0}), "has 0 test patients for ef, but described 4"),
        (result(patients={"ef": -3}), "has -3 test patients for ef"),
        (result(patients={"ef": 10**18}), "has 1,000,000,000,000,000,000 test patients for ef"),
        (result(patients={"ef": 4, "as_grade": 1}), "'as_grade' is no task that the site has"),
        (result(patients={"ef": 4, "<b>": 1}), "'<b>' is no task that the site has"),
        (result(scores={"ef/mae": UNDEFINED}), "score 'ef/mae' was not asked for"),
        (scored("federated/ef/extra", 1.0), "score 'federated/ef/extra' was not asked for"),
        (scored("federated/as_grade/accuracy", 1.0), "was not asked for"),
        (scored("pooled/ef/mae", 1.0), "score 'pooled/ef/mae' was not asked for"),
        (scored("federated/ef/mae", math.inf), "score federated/ef/mae is not finite"),
        (scored("federated/ef/bias", -math.inf), "score federated/ef/bias is not finite"),
        (scored("federated/ef/bias", 1.0, 0.0, math.inf), "bias is not finite"),
        (scored("federated/ef/mae", -1.0), "mae is -1, legal is 0 to inf"),
        (scored("federated/ef/r2", 1.1), "r2 is 1.1, legal is -inf to 1"),
        (scored("no_network/ef/pearson", -1.5), "pearson is -1.5, legal is -1 to 1"),
        (scored("federated_minus_no_network/ef/reduced_auc", 1.5), "legal is -1 to 1"),
        (scored("federated/ef/mae", 5.0, 6.0, 4.0), "has the interval 6 to 4"),
        (scored("federated/ef/mae", 5.0, 4.0), "has the interval 4 to nan"),
        (scored("federated/ef/mae", math.nan, 4.0, 5.0), "has an interval and no value"),
        (scored("federated/ef/mae", 5.0, 4.0, 6.0, 0.5), "federated/ef/mae has the p 0.5"),
        (scored("federated_minus_no_network/ef/mae", 5.0, 4.0, 6.0, 1.5), "has the p 1.5"),
    ],
)
def test_each_fault_is_refused_with_its_own_sentence(bad: SiteResult, sentence: str) -> None:
    with pytest.raises(RefusedUpdateError, match=sentence):
        admit_result(bad, EXPECTED)


def test_no_metric_of_the_model_may_be_left_out() -> None:
    """A site that leaves out what looks bad is refused."""
    scores = dict(result().scores)
    del scores["federated/ef/rmse"]
    with pytest.raises(RefusedUpdateError, match="score 'federated/ef/rmse' is missing"):
        admit_result(replace(result(), scores=scores), EXPECTED)


@pytest.mark.parametrize("task", list(Task))
def test_every_metric_is_known_with_its_ends(task: Task) -> None:
    """Bias and calibration slope alone may be any number."""
    names = set(metric_names(task))
    assert names and names - set(ENDS) <= {"bias", "calibration_slope"}


def test_what_a_site_announced_to_keep_may_be_missing_and_nothing_else() -> None:
    """The list is known before the result: a site cannot drop what turned out badly."""
    kept = replace(EXPECTED, released="ef/mae ef/r2")
    scores = {name: score for name, score in result().scores.items() if name.endswith("mae")}
    with pytest.raises(RefusedUpdateError, match="score 'federated/ef/r2' is missing"):
        admit_result(replace(result(), scores=scores), kept)
    scores["federated/ef/r2"] = UNDEFINED
    admit_result(replace(result(), scores=scores), kept)
    with pytest.raises(RefusedUpdateError, match="was not asked for"):
        admit_result(result(), kept)
