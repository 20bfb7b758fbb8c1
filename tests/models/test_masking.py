"""Masks: exact counts, drawn anew for each sample, the same in every slot."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from echofm_core.models.masking import decoded_tokens, touches_sector, tube_mask, tube_tokens
from tests.models.small import generator


def test_the_published_ratio_hides_166_of_196_positions_in_each_sample() -> None:
    """0.85 * 196 = 166.6, floor 166."""
    mask = tube_mask(32, 196, 0.85, generator())
    assert mask.dtype is torch.bool
    assert mask.sum(dim=1).tolist() == [166] * 32


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 99), st.integers(1, 300), st.integers(0, 3))
def test_the_count_is_the_floor_for_any_ratio(percent: int, positions: int, batch: int) -> None:
    """Expected by integer division, which knows no rounding error."""
    mask = tube_mask(batch, positions, percent / 100, generator())
    assert mask.sum(dim=1).tolist() == [percent * positions // 100] * batch


def test_samples_get_masks_of_their_own_and_a_generator_repeats_them() -> None:
    mask = tube_mask(16, 196, 0.85, generator(1))
    assert len(mask.unique(dim=0)) == 16
    assert torch.equal(mask, tube_mask(16, 196, 0.85, generator(1)))
    assert not torch.equal(mask, tube_mask(16, 196, 0.85, generator(2)))


def test_every_position_is_hidden_equally_often() -> None:
    """Share 0.75 over 4,000 masks: standard error 0.007, so 0.04 is over five of them."""
    share = tube_mask(4000, 16, 0.75, generator()).float().mean(dim=0)
    assert (share - 0.75).abs().max() < 0.04


def test_a_tube_runs_through_every_slot() -> None:
    """Positions 1 and 2 of 3 hidden, in 2 slots: tokens 1, 2 and 3 + 1, 3 + 2; other row 0, 2."""
    mask = torch.tensor([[False, True, True], [True, False, True]])
    assert tube_tokens(mask, 2, slots=2).tolist() == [[1, 2, 4, 5], [0, 2, 3, 5]]


def test_decoded_tokens_are_a_random_half_of_the_hidden_ones() -> None:
    hidden = tube_tokens(tube_mask(8, 16, 0.75, generator()), 12, slots=4)
    counted = torch.ones_like(hidden, dtype=torch.bool)
    chosen = decoded_tokens(hidden, counted, 0.5, generator(1))
    assert chosen.shape == (8, 24)
    for mine, pool in zip(chosen.tolist(), hidden.tolist(), strict=True):
        assert mine == sorted(set(mine))
        assert set(mine) < set(pool)
    assert not torch.equal(chosen, decoded_tokens(hidden, counted, 0.5, generator(2)))
    assert torch.equal(decoded_tokens(hidden, counted, 1.0, generator(2)), hidden)


def test_tokens_in_the_sector_are_decoded_first() -> None:
    """Four of eight are decoded and only three count: all three are among them."""
    hidden = torch.arange(10, 18).unsqueeze(0)
    counted = torch.tensor([[False, True, False, False, True, False, False, True]])
    for seed in range(5):
        chosen = decoded_tokens(hidden, counted, 0.5, generator(seed))[0].tolist()
        assert len(chosen) == 4
        assert {11, 14, 17} < set(chosen)


def test_one_pixel_of_sector_makes_its_patch_count() -> None:
    """Pixel (5, 2) lies in row 1, column 0 of a 2 x 2 grid of 4 x 4 patches: position 2."""
    sector = torch.zeros(1, 8, 8, dtype=torch.bool)
    sector[0, 5, 2] = True
    assert touches_sector(sector, 4).tolist() == [[False, False, True, False]]
