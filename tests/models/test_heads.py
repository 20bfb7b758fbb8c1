"""Grey levels of cells, against loops over patches and cells."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from echofm_core.models.build import build_echo_model
from echofm_core.models.config import StfNetForm
from echofm_core.models.heads import (
    DEVIATION_GAIN,
    MEAN_GAIN,
    USUAL,
    Head,
    cells_of,
    grey_cells,
    grey_width,
)
from echofm_core.models.pooling import STILLNESS
from echofm_core.tasks import Task
from tests.models.small import FRAMES, SIZE, small_plan, times


@pytest.mark.parametrize(("patch", "cells"), [(16, 4), (8, 4), (4, 4), (6, 3), (14, 2), (5, 1)])
def test_cells_divide_a_patch(patch: int, cells: int) -> None:
    assert (cells_of(patch), grey_width(patch)) == (cells, 2 * cells**2)


def test_each_cell_has_its_mean_and_the_logarithm_of_its_deviation() -> None:
    """Two rows and three columns of patches of 8 pixels, so of cells of 2; rows first."""
    video = torch.randn(2, 5, 1, 16, 24, generator=torch.Generator().manual_seed(0))
    found = grey_cells(video, 8).numpy()
    assert found.shape == (2, 6, 32)
    pixels = video[:, :, 0].numpy().astype(float)
    for place in range(6):
        top, left = 8 * (place // 3), 8 * (place % 3)
        for cell in range(16):
            y, x = top + 2 * (cell // 4), left + 2 * (cell % 4)
            grey = pixels[1, :, y : y + 2, x : x + 2].mean(axis=(1, 2))
            deviation = math.log(math.sqrt(grey.var() + STILLNESS)) + USUAL
            np.testing.assert_allclose(
                found[1, place, [cell, 16 + cell]],
                [MEAN_GAIN * grey.mean(), DEVIATION_GAIN * deviation],
                rtol=1e-4,
                atol=1e-5,
            )


def test_heads_of_the_ventricle_alone_see_grey_and_only_inside_the_region() -> None:
    """Tokens are those of any picture: what differs is grey levels, in the patch of column 3."""
    model = build_echo_model(small_plan()).eval()
    torch.nn.init.zeros_(model.encoder.patch_embed.weight)
    assert model.reading_grey == {Task.EF, Task.REDUCED_EF}
    dark, lit = torch.zeros(2, 1, FRAMES, 1, SIZE, SIZE)
    lit[..., :8, 24:] = 1
    inside = torch.ones(1, SIZE, SIZE, dtype=torch.bool)
    without = inside.clone()
    without[:, :8, 24:] = False
    with torch.no_grad():
        for sector, seen in ((inside, True), (without, False)):
            region = model.region(sector)
            one, other = (model(video, times(1), region) for video in (dark, lit))
            assert torch.equal(one[Task.AS_GRADE], other[Task.AS_GRADE])
            assert torch.equal(one[Task.EF], other[Task.EF]) is not seen
    assert not build_echo_model(small_plan(StfNetForm.PUBLISHED)).reading_grey


def test_heads_see_where_grey_is_within_a_patch_although_its_token_does_not() -> None:
    """A patch embedding of zeros gives every picture the same tokens."""
    model = build_echo_model(small_plan()).eval()
    torch.nn.init.zeros_(model.encoder.patch_embed.weight)
    left, right = torch.zeros(2, 1, FRAMES, 1, SIZE, SIZE)
    left[..., 8:12, 8:12], right[..., 8:12, 12:16] = 1, 1
    with torch.no_grad():
        assert torch.equal(model.tokens(left, None), model.tokens(right, None))
        one, other = (model(video, times(1), None)[Task.EF] for video in (left, right))
    assert (one - other).abs().max() > 0


def test_heads_see_how_much_of_a_picture_is_dark() -> None:
    """Grey levels are not normed: two pictures of one grey each, all tokens alike, differ."""
    model = build_echo_model(small_plan()).eval()
    torch.nn.init.zeros_(model.encoder.patch_embed.weight)
    pictures = [torch.full((1, FRAMES, 1, SIZE, SIZE), grey) for grey in (0.2, 0.7)]
    with torch.no_grad():
        head = model.heads[Task.EF.value]
        assert isinstance(head, Head)
        grey = head.linear.weight[0, head.norm.normalized_shape[0] :].view(-1, 2, 16)
        one, other = (model(picture, times(1), None)[Task.EF].item() for picture in pictures)
    assert other - one == pytest.approx(MEAN_GAIN * 0.5 * grey[:, 0].sum().item(), rel=1e-3)
