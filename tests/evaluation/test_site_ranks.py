"""Ranks over sites by hand, and the critical values of Demsar's table 5."""

import math

import numpy as np
import pytest

from echofm_core.evaluation.site_ranks import site_ranks


def test_ranks_by_hand() -> None:
    """Errors at five sites: a is best at four; b and c share second and third at the last."""
    found = site_ranks(
        {"c": [3, 3, 3, 1, 2], "a": [1, 1, 1, 2, 1], "b": [2, 2, 2, 3, 2]}, lower_is_better=True
    )
    assert found is not None and found.sites == 5
    ranks = {"a": 6 / 5, "b": (2 + 2 + 2 + 3 + 2.5) / 5, "c": (3 + 3 + 3 + 1 + 2.5) / 5}
    assert list(found.ranks) == ["a", "b", "c"] and found.ranks == pytest.approx(ranks)


@pytest.mark.parametrize(
    ("models", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)]
)
def test_the_critical_difference_has_the_published_values(models: int, q: float) -> None:
    """q of table 5a at 0.05, times sqrt(k (k + 1) / 6 N)."""
    rng = np.random.default_rng(0)
    values = {str(n): list(rng.random(14)) for n in range(models)}
    found = site_ranks(values, lower_is_better=False)
    assert found is not None
    assert found.critical == pytest.approx(q * math.sqrt(models * (models + 1) / 84), rel=5e-4)


def test_friedmans_statistic_is_the_papers() -> None:
    """12 N / (k (k + 1)) (sum of squared mean ranks - k (k + 1)^2 / 4), without ties, as chi-square
    with k - 1 degrees: with k = 3 its tail is exp(-x / 2)."""
    rng = np.random.default_rng(1)
    found = site_ranks({n: list(rng.random(8)) for n in "abc"}, lower_is_better=True)
    assert found is not None
    squares = sum(rank**2 for rank in found.ranks.values())
    assert found.p == pytest.approx(math.exp(-(12 * 8 / 12) * (squares - 3 * 16 / 4) / 2))


def test_groups_are_the_models_within_the_critical_difference() -> None:
    """k = 4 and N = 5: 2.569 * sqrt(20 / 30) = 2.098. Ranks 1, 2, 3, 4: the outer two differ."""
    found = site_ranks({n: [v] * 5 for v, n in enumerate("abcd")}, lower_is_better=True)
    assert found is not None and found.critical == pytest.approx(2.098, abs=2e-3)
    assert found.groups == [("a", "b", "c"), ("b", "c", "d")]


def test_fewer_than_five_sites_rank_nothing() -> None:
    assert site_ranks({"a": [1] * 4, "b": [2] * 4}, lower_is_better=True) is None
    assert site_ranks({"a": [1] * 5}, lower_is_better=True) is None
    assert site_ranks({}, lower_is_better=True) is None
    with pytest.raises(ValueError, match="same sites"):
        site_ranks({"a": [1] * 5, "b": [2] * 6}, lower_is_better=True)
