"""Masks: exact counts of what is seen, drawn anew for each sample, the same in every slot."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from echofm_core.models.masking import decoded_mask, positions_seen, tube_mask
from tests.models.small import generator


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
