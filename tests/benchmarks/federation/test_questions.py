"""What is compared with what, on predictions whose R2 is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pytest

from benchmarks.federation.contrast import measured
from benchmarks.federation.figures import ANSWERS, Figures, rows_of
from benchmarks.federation.plans import DEALT
from benchmarks.federation.predictions import Key, Predictions
from benchmarks.federation.questions import BARS, Question, contrasts
from tests.benchmarks.federation.made import ef_rows, grade_rows

FOLDS = ("e", "v")
TRUTH = (30.0, 40.0, 60.0, 70.0)
GRADES = (0, 0, 1, 1)


def off_by(error: float) -> list[float]:
    """Estimates of R2 1 - error ** 2 / 250: the truth's variance is 250."""
    return [value + sign * error for value, sign in zip(TRUTH, (1, -1, 1, -1), strict=True)]


def r2(error: float) -> float:
    return 1 - error**2 / 250


def model(errors: Mapping[str, float], right: Sequence[float] = ()) -> pd.DataFrame:
    """A model with an error at each site and, where there are some, grades at ``t``."""
    parts = [ef_rows({site: off_by(error) for site, error in errors.items()}, TRUTH)]
    return pd.concat([*parts, *([grade_rows("t", GRADES, right)] if right else [])])


def made() -> Predictions:
    """Site a always trains; e and v are left out in turn. One seed."""
    found = {}
    for fold, other in (("e", "v"), ("v", "e")):
        found |= {
            (fold, "fedavg"): model({"a": 4, other: 6, fold: 8}, (0.1, 0.2, 0.8, 0.9)),
            (fold, "pooled"): model({"a": 5, other: 3, fold: 7}),
            (fold, "ensemble"): model({"a": 6, other: 7, fold: 9}),
            (fold, "local"): model({"a": 5, other: 9}),
            (fold, "local:a"): model({"a": 5, other: 12, fold: 11}),
            (fold, f"local:{other}"): model({"a": 9, other: 9, fold: 10}),
            (fold, "local:t"): grade_rows("t", GRADES, (0.1, 0.6, 0.5, 0.9)),
            (fold, "no_network"): model({"a": 12, other: 13, fold: 14}),
            (fold, "fedavg, then 20 patients there"): model({fold: 5}),
            (fold, "fedavg, then 70 patients there"): model({fold: 4}),
        }
    found |= {(DEALT, name): model({"c": error}) for name, error in DEALT_ERRORS.items()}
    return Predictions({Key(fold, name, 1): rows for (fold, name), rows in found.items()})


DEALT_ERRORS = {"fedavg": 6, "fedprox": 5, "scaffold": 9}


@pytest.mark.parametrize(
    ("question", "value", "words"),
    [
        (Question.SINGLE, r2(8) - r2(10), "(v for e, e for v)"),
        (Question.POOLED, r2(8) - 0.9 * r2(7), "0.9 of pooled"),
        (Question.FLOOR, r2(8) - r2(14), "no_network"),
        (Question.WORST, r2(6) - r2(3), "FedAvg less its best (pooled)"),
        (Question.DEALT, r2(5) - r2(6), "fedprox less FedAvg"),
        (Question.FEW_SHOT, r2(5) - (r2(8) + r2(4)) / 2, "(e fine-tuned on 70, v fine-tuned"),
        (Question.STENOSIS, 1 - 0.75, "at t: FedAvg less alone"),
    ],
)
def test_each_question_by_hand(question: Question, value: float, words: str) -> None:
    """At e and v the errors are the same. AUC alone: 3 of 4 pairs are in order."""
    found = made()
    asked = contrasts(found, FOLDS, (20, 70))[question]
    assert words in asked.what
    assert measured(asked, found).value == pytest.approx(value)


def answers(low: float, high: float, seeds: int = 3) -> Figures:
    rows = [(question.value, "what", 0.0, low, high, seeds) for question in BARS]
    table = pd.DataFrame(rows, columns=list(ANSWERS))
    return Figures(context={}, scores=pd.DataFrame(), answers=table)


def test_what_is_claimed_is_held_by_the_low_end_and_what_is_not_worse_by_the_high_one() -> None:
    """The low end of -0.05 is within what is conceded at the worst site, and no claim's."""
    held = [row.holds for row in rows_of(answers(-0.05, 0.05), judge=True) if row.bar]
    named = dict(zip(BARS, held, strict=True))
    assert {question for question, holds in named.items() if holds} == {
        Question.WORST, Question.DEALT, Question.STENOSIS,
    }  # fmt: skip
    assert all(row.holds is not False for row in rows_of(answers(0.01, 0.02), judge=True))
    assert not any(row.holds for row in rows_of(answers(-0.2, -0.1), judge=True))


def test_a_part_of_the_benchmark_is_not_judged() -> None:
    assert not any(row.bar for row in rows_of(answers(0.1, 0.2), judge=False))
    assert not any(row.bar for row in rows_of(answers(0.1, 0.2, seeds=2), judge=True))


def test_a_question_without_an_answer_misses_its_bar() -> None:
    figures = answers(0.1, 0.2)
    figures = Figures(context={}, scores=figures.scores, answers=figures.answers.iloc[1:])
    missing = [row for row in rows_of(figures, judge=True) if row.holds is False]
    assert [row.what for row in missing] == ["single: not measured"]
    assert np.isnan(missing[0].ours)
