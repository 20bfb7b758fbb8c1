"""Effective rank of matrices whose singular values are known by hand."""

import math

import pytest
import torch

from echofm_core.evaluation.effective_rank import effective_rank


def test_rows_that_are_multiples_of_one_have_rank_one() -> None:
    rows = torch.arange(1.0, 7.0).unsqueeze(1) * torch.linspace(-1, 2, 9)
    assert effective_rank(rows) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("n", [1, 4, 16])
def test_orthogonal_rows_of_one_length_have_full_rank(n: int) -> None:
    """n equal singular values, each a share of 1 / n, whatever their size: exp(log n) = n."""
    square, _ = torch.linalg.qr(torch.randn(20, n, generator=torch.Generator().manual_seed(n)))
    assert effective_rank(3 * square.T) == pytest.approx(n, rel=1e-5)
    assert effective_rank(3 * square) == pytest.approx(n, rel=1e-5)


def test_two_directions_of_unlike_size() -> None:
    """Singular values 3 and 1 are shares .75 and .25: exp(-.75 log .75 - .25 log .25) = 1.7548."""
    features = torch.tensor([[0.0, 3.0, 0.0], [1.0, 0.0, 0.0]])
    expected = 0.75**-0.75 * 0.25**-0.25
    assert expected == pytest.approx(1.7548, abs=1e-4)
    assert effective_rank(features) == pytest.approx(expected, rel=1e-9)


def test_features_that_say_nothing() -> None:
    assert effective_rank(torch.zeros(4, 3)) == 0
    assert effective_rank(torch.zeros(0, 3)) == 0
    assert math.isnan(effective_rank(torch.tensor([[1.0, math.inf]])))
