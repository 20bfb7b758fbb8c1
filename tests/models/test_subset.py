"""Tokens that are taken out of samples and put back, however many each sample has."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from echofm_core.models.subset import Subset

#: Three samples of four items: two, all, and one of them.
MASK = torch.tensor([[0, 1, 0, 1], [1, 1, 1, 1], [0, 0, 1, 0]]).bool()


def test_rows_are_padded_to_the_longest() -> None:
    chosen = Subset.of(MASK)
    assert chosen.items.shape == (3, 4)
    assert chosen.items[0, :2].tolist() == [1, 3]
    assert chosen.items[2, :1].tolist() == [2]
    assert chosen.valid is not None
    assert chosen.valid.sum(dim=1).tolist() == [2, 4, 1]
    assert all(sorted(row) == [0, 1, 2, 3] for row in chosen.items.tolist())


def test_rows_of_one_length_have_no_padding() -> None:
    """Items 1 and 3 of one sample, 0 and 1 of another."""
    chosen = Subset.of(torch.tensor([[0, 1, 0, 1], [1, 1, 0, 0]]).bool())
    assert chosen.items.tolist() == [[1, 3], [0, 1]]
    assert chosen.valid is None


def test_each_sample_gives_its_own_items() -> None:
    """Items are (10 * sample + item, its negative)."""
    whole = torch.tensor([[[10.0 * s + i, -i] for i in range(3)] for s in range(2)])
    taken = Subset(torch.tensor([[2, 0], [1, 1]])).take(whole)
    assert taken.tolist() == [[[2, -2], [0, 0]], [[11, -1], [11, -1]]]


def test_positions_are_tokens_of_every_slot() -> None:
    """Positions 1 and 2 of 3 in 2 slots: tokens 1, 2 and 3 + 1, 3 + 2; of the other sample 0, 2."""
    tokens = Subset.of(torch.tensor([[0, 1, 1], [1, 0, 1]]).bool()).in_every_slot(2, 3)
    assert tokens.items.tolist() == [[1, 2, 4, 5], [0, 2, 3, 5]]


def test_padding_is_padding_in_every_slot() -> None:
    """Sample 2 has one of its two columns, in each slot."""
    tokens = Subset.of(torch.tensor([[1, 1], [0, 1]]).bool()).in_every_slot(3, 2)
    assert tokens.valid is not None
    assert tokens.valid[1].tolist() == [True, False] * 3
    assert tokens.items[1, ::2].tolist() == [1, 3, 5]


@settings(max_examples=50, deadline=None)
@given(st.data(), st.sampled_from([1, 2]), st.sampled_from([Subset.of, Subset.masked]))
def test_what_was_taken_is_put_back_and_all_else_is_zero(data, dim, made) -> None:  # type: ignore[no-untyped-def]
    """Against indexing with the mask itself."""
    rows = st.lists(st.lists(st.booleans(), min_size=5, max_size=5), max_size=4)
    mask = torch.tensor(data.draw(rows), dtype=torch.bool).reshape(-1, 5)
    shape = (len(mask), 5, 2) if dim == 1 else (len(mask), 3, 5, 2)
    whole = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    chosen = made(mask)
    back = chosen.put(chosen.take(whole, dim), 5, dim)
    seen = mask[:, :, None] if dim == 1 else mask[:, None, :, None]
    assert torch.equal(back, whole * seen)


def test_padding_is_never_put_back_not_even_what_is_no_number() -> None:
    chosen = Subset.of(torch.tensor([[1, 1], [0, 1]]).bool())
    taken = torch.tensor([[[1.0], [2.0]], [[3.0], [float("nan")]]])
    assert chosen.put(taken, 2).tolist() == [[[1], [2]], [[0], [3]]]
