"""Which round is the best, and when a phase ends: on numbers written by hand."""

from __future__ import annotations

import math

import pytest

from server.validation import Losses, Validation, mean


def rounds(*losses: float) -> dict[int, Losses]:
    """One site's losses of rounds 1, 2, ..."""
    return {number: {"a": loss} for number, loss in enumerate(losses, start=1)}


def test_the_mean_counts_sites_alike() -> None:
    assert mean({"a": 1.0, "b": 3.0}) == 2.0
    assert math.isnan(mean({}))
    assert math.isnan(mean({"a": math.nan, "b": 1.0}))


@pytest.mark.parametrize(
    ("losses", "best"),
    [
        ({}, 0),
        (rounds(3.0, 1.0, 2.0), 2),
        (rounds(1.0, 1.0), 1),
        (rounds(2.0, math.nan, 3.0), 1),
        (rounds(2.0, -math.inf, 3.0), 1),
        (rounds(math.nan, math.inf), 0),
        # One site's NaN is not left out: the other's mean alone would win.
        ({1: {"a": 5.0, "b": 5.0}, 2: {"a": math.nan, "b": 1.0}}, 1),
        # 2.0 against 2.5, though round 2 is the best of the larger site.
        ({1: {"a": 3.0, "b": 1.0}, 2: {"a": 1.0, "b": 4.0}}, 1),
        # b, whose loss is large, was away in round 2, in which a found it worse.
        ({1: {"a": 1.0, "b": 9.0}, 2: {"a": 1.5}}, 1),
        ({1: {"a": 1.0, "b": 9.0}, 2: {"a": 1.5}, 3: {"a": 0.9, "b": 9.5}}, 1),
        ({1: {"a": 1.0, "b": 9.0}, 2: {"a": 1.5}, 3: {"a": 0.9, "b": 8.5}}, 3),
        # b joined in round 2; and with no site in common there is nothing else to compare.
        ({1: {"a": 2.0}, 2: {"a": 1.0, "b": 9.0}}, 2),
        ({1: {"a": 2.0}, 2: {"b": 1.0}}, 2),
    ],
)
def test_the_least_finite_mean_wins_and_of_two_the_earlier(
    losses: dict[int, Losses], best: int
) -> None:
    assert Validation(losses=losses).best() == best


def test_patience_counts_rounds_since_the_best_one_whose_result_is_known() -> None:
    """Round 1 is the best; after round 4 the results of rounds 2 and 3 are known to be worse."""
    losses = rounds(1.0, 2.0, 2.0)
    waiting = Validation(patience=2, losses=losses)
    assert [waiting.exhausted(done) for done in (1, 2, 3, 4)] == [False, False, False, True]
    assert not Validation(patience=3, losses=losses).exhausted(4)
    assert not Validation(losses=losses).exhausted(4)
    assert not Validation(patience=2).exhausted(9), "nobody validates"


def test_the_last_result_does_not_undo_an_end() -> None:
    """Found better when the phase was over: a run that is gone on with has ended all the same."""
    assert Validation(patience=2, losses=rounds(1.0, 2.0, 2.0, 0.5)).exhausted(4)


def test_what_is_due() -> None:
    every = Validation(every=2)
    assert [every.due(number) for number in range(5)] == [False, False, True, False, True]
    assert Validation(every=2, losses=rounds(1.0)).due(3, last=True)
    assert not Validation(every=2, losses=rounds(1.0, 1.0)).due(2)
    assert Validation(every=1).due(1, last=True), "sites were not asked yet"
    assert not Validation(every=1).due(3, last=True), "they were, and none has such patients"
    assert not Validation().due(1, last=True)


def test_results_before_a_stage_are_never_due() -> None:
    """A stage of rounds 4 to 6, every second of which is validated: what round 3 came to was
    another model. Asked once more at the end are those who were never asked."""
    stage = Validation(every=2, first=4)
    assert [stage.due(number) for number in (2, 3, 4, 5, 6)] == [False, False, True, False, True]
    assert stage.due(5, last=True), "as round 2 of a phase would be"
    assert not stage.due(6, last=True) and not stage.due(3, last=True)
    assert stage.best() == 0 and not stage.exhausted(6)


def test_what_is_found_is_kept_at_once() -> None:
    kept: list[tuple[int, Losses]] = []
    validation = Validation(keep=lambda number, losses: kept.append((number, losses)))
    validation.add(1, {})
    validation.add(2, {"a": 1.0})
    assert kept == [(2, {"a": 1.0})] and validation.best() == 2
