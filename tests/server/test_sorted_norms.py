"""Medians are those of the standard library over the same numbers, bit for bit."""

from __future__ import annotations

from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.sorted_norms import SortedNorms

NORMS = st.lists(st.floats(0, 1e300), max_size=9)


@given(NORMS, NORMS, st.integers(0, 12))
def test_the_median_is_that_of_all_norms_and_zeros(
    first: list[float], later: list[float], zeros: int
) -> None:
    norms = SortedNorms(first)
    for norm in later:
        norms.add(norm)
    every = [*first, *later, *[0.0] * zeros]
    assert len(norms) == len(first) + len(later)
    if every:
        assert norms.median(zeros) == median(every)


def test_nothing_has_no_median() -> None:
    with pytest.raises(IndexError):
        SortedNorms().median()
