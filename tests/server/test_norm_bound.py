from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echofm_core.contract import Phase
from echofm_core.runtime.errors import DivergedError, RefusedUpdateError
from server.journal import Entry, SiteEntry
from server.norm_bound import NormBound, recent_norms

NORMS = st.lists(st.floats(0, 1e6), max_size=6)


def counts(bound: NormBound, norm: float, norms: list[float]) -> bool:
    try:
        bound.check(norm, bound.known(norms))
    except RefusedUpdateError:
        return False
    return True


def test_the_bound_is_a_multiple_of_the_median_of_this_round_and_recent_ones() -> None:
    """Of 1, 2, 3, 5, 40 the median is 3; ten times that is 30."""
    bound = NormBound(ratio=10, recent=[1, 2])
    assert counts(bound, 30, [3, 5, 40])
    with pytest.raises(
        RefusedUpdateError,
        match=r"is 40 away from what was sent, the bound is 30: 10 times .*, 3 \(federation\.max",
    ) as caught:
        bound.check(40, bound.known([3, 5, 40]))
    assert caught.value.cause == DivergedError.exit_code


def test_fewer_than_three_norms_judge_nobody() -> None:
    bound = NormBound(ratio=2)
    assert counts(bound, 1e9, [1, 1e9])
    assert not counts(NormBound(ratio=2, recent=[1]), 1e9, [1, 1e9])
    assert bound.surely_holds(1e9, bound.known(), 2)
    assert not bound.surely_holds(1.0, bound.known(), 3)


@given(NORMS, NORMS, st.floats(0, 1e6), st.floats(0.1, 100))
def test_what_surely_holds_holds_whatever_the_others_send(
    recent: list[float], others: list[float], norm: float, ratio: float
) -> None:
    """Others may also not answer, or be refused for another reason."""
    bound = NormBound(ratio=ratio, recent=recent)
    for silent in range(3):
        if bound.surely_holds(norm, bound.known([norm]), len(others) + silent):
            assert counts(bound, norm, [*others, norm])


def test_norms_come_from_the_last_three_rounds_of_the_phase() -> None:
    def entry(phase: Phase, number: int, norm: float) -> Entry:
        part = SiteEntry(counts={"encoder": 1}, metrics={"update_norm": norm})
        older = SiteEntry(counts={"encoder": 1}, metrics={})
        sites = {"a": part, "b": older}
        return Entry(phase=phase, round=number, plan_hash="p", sites=sites)

    entries = [entry(Phase.PRETRAIN, number, number) for number in range(1, 7)]
    entries += [entry(Phase.FINETUNE, 4, 9.0)]
    assert recent_norms(entries, Phase.PRETRAIN, 5) == [(3,), (4,), (5,)]
    assert recent_norms(entries, Phase.PRETRAIN, 1) == [(1,)]
    assert recent_norms(entries, Phase.PRETRAIN, 0) == []
    assert recent_norms(entries, Phase.PRETRAIN, 5, first=5) == [(5,)], "a stage begins anew"
    assert recent_norms([entry(Phase.PRETRAIN, 1, math.inf)], Phase.PRETRAIN, 1) == [()]
