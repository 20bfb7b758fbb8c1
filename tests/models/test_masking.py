"""Masks: exact counts of what is seen, drawn anew for each sample, the same in every slot."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from echofm_core.models.masking import Subset, decoded_mask, positions_seen, tube_mask
from tests.models.small import generator

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


def all_of(batch: int, positions: int) -> Tensor:
    return torch.ones(batch, positions, dtype=torch.bool)


def test_the_published_ratio_hides_166_of_196_positions_in_each_sample() -> None:
    """0.85 * 196 = 166.6, floor 166."""
    mask = tube_mask(all_of(32, 196), 0.85, generator())
    assert mask.dtype is torch.bool
    assert mask.sum(dim=1).tolist() == [166] * 32


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 99), st.integers(1, 300), st.integers(0, 3))
def test_the_count_is_the_floor_for_any_ratio(percent: int, positions: int, batch: int) -> None:
    """Expected by integer division, which knows no rounding error."""
    mask = tube_mask(all_of(batch, positions), percent / 100, generator())
    assert mask.sum(dim=1).tolist() == [percent * positions // 100] * batch


def test_samples_get_masks_of_their_own_and_a_generator_repeats_them() -> None:
    mask = tube_mask(all_of(16, 196), 0.85, generator(1))
    assert len(mask.unique(dim=0)) == 16
    assert torch.equal(mask, tube_mask(all_of(16, 196), 0.85, generator(1)))
    assert not torch.equal(mask, tube_mask(all_of(16, 196), 0.85, generator(2)))


def test_every_position_is_hidden_equally_often() -> None:
    """Share 0.75 over 4,000 masks: standard error 0.007, so 0.04 is over five of them."""
    share = tube_mask(all_of(4000, 16), 0.75, generator()).float().mean(dim=0)
    assert (share - 0.75).abs().max() < 0.04


@settings(max_examples=50, deadline=None)
@given(st.data(), st.integers(0, 99), st.integers(1, 40))
def test_only_what_is_seen_is_hidden_and_the_count_is_of_it(
    data: st.DataObject, percent: int, positions: int
) -> None:
    """Expected by integer division of each sample's own count."""
    rows = st.lists(st.lists(st.booleans(), min_size=positions, max_size=positions), max_size=4)
    seen = torch.tensor(data.draw(rows), dtype=torch.bool).reshape(-1, positions)
    mask = tube_mask(seen, percent / 100, generator())
    assert not (mask & ~seen).any()
    assert mask.sum(dim=1).tolist() == [percent * n // 100 for n in seen.sum(dim=1).tolist()]


def test_what_is_drawn_of_a_sample_depends_on_no_other() -> None:
    """The second row sees less; the first and the third are hidden as they were."""
    seen = all_of(3, 16)
    less = seen.clone()
    less[1, 5:] = False
    before, after = (tube_mask(one, 0.75, generator(4)) for one in (seen, less))
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    halves = [decoded_mask(one.repeat(1, 2), 0.5, generator(4)) for one in (before, after)]
    assert torch.equal(halves[0][[0, 2]], halves[1][[0, 2]])


def test_decoded_tokens_are_a_random_half_of_the_hidden_ones() -> None:
    hidden = tube_mask(all_of(8, 16), 0.75, generator()).repeat(1, 4)
    chosen = decoded_mask(hidden, 0.5, generator(1))
    assert chosen.sum(dim=1).tolist() == [24] * 8
    assert not (chosen & ~hidden).any()
    assert not torch.equal(chosen, decoded_mask(hidden, 0.5, generator(2)))
    assert torch.equal(decoded_mask(hidden, 1.0, generator(2)), hidden)


def test_one_token_at_least_is_decoded_where_any_is_hidden() -> None:
    """A tenth of three is none by the floor; of nothing hidden nothing is decoded."""
    hidden = torch.tensor([[True, True, False, True], [False] * 4])
    assert decoded_mask(hidden, 0.1, generator()).sum(dim=1).tolist() == [1, 0]


def test_one_pixel_of_sector_makes_its_place_seen() -> None:
    """Pixel (5, 2) lies in row 1, column 0 of a 2 x 2 grid of 4 x 4 patches: position 2."""
    sector = torch.zeros(1, 8, 8, dtype=torch.bool)
    sector[0, 5, 2] = True
    assert positions_seen(sector, 4).tolist() == [[False, False, True, False]]


def test_without_a_sector_all_is_seen() -> None:
    sector = torch.zeros(2, 8, 8, dtype=torch.bool)
    sector[0, 0, 0] = True
    assert positions_seen(sector, 4).tolist() == [[True, False, False, False], [True] * 4]
