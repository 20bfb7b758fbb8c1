"""Cutting, joining and coding positions."""

import math

import pytest
import torch

from echofm_core.models.patches import PatchGrid, position_code, take_tokens
from tests.models.small import videos

GRID = PatchGrid(slots=4, rows=4, cols=4, tubelet=2, patch=8)


def test_a_patch_holds_its_pixels_in_order_of_time_row_column() -> None:
    """Token (slot 2, row 1, column 3) is frames 4-5, lines 8-15, columns 24-31."""
    video = videos(2)
    patch = GRID.cut(video)[1, (2 * 4 + 1) * 4 + 3]
    assert torch.equal(patch, video[1, 4:6, 0, 8:16, 24:32].flatten())


def test_join_undoes_cut() -> None:
    video = videos(2)
    assert torch.equal(GRID.join(GRID.cut(video)), video)


def test_a_video_of_another_size_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"\(8, 1, 32, 32\), got \(8, 1, 32, 40\)"):
        GRID.cut(torch.zeros(1, 8, 1, 32, 40))


def test_take_tokens_takes_each_samples_own() -> None:
    tokens = torch.arange(12.0).reshape(2, 3, 2)
    taken = take_tokens(tokens, torch.tensor([[2, 0], [1, 1]]))
    assert taken.tolist() == [[[4, 5], [0, 1]], [[8, 9], [8, 9]]]


def test_position_code_is_the_sine_and_cosine_of_the_flattened_index() -> None:
    """Vaswani 2017: place 2i is sin(p / 10000^(2i / D)), place 2i + 1 its cosine."""
    code = position_code(tokens=7, width=8)
    for place in range(8):
        angle = 5 / 10_000 ** (2 * (place // 2) / 8)
        expected = math.cos(angle) if place % 2 else math.sin(angle)
        assert code[0, 5, place] == pytest.approx(expected, abs=1e-6)
