"""Cutting, joining and coding positions."""

import math

import pytest
import torch

from echofm_core.models.build import build_autoencoder
from echofm_core.models.config import ModelConfig
from echofm_core.models.patches import PatchGrid, position_code, position_table
from echofm_core.plan.load import plan_from_mapping
from echofm_core.runtime.errors import PlanError
from tests.models.small import small_plan, videos

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


def test_position_code_is_the_sine_and_cosine_of_the_flattened_index() -> None:
    """Vaswani 2017: place 2i is sin(p / 10000^(2i / D)), place 2i + 1 its cosine."""
    code = position_code(tokens=7, width=8)
    for place in range(8):
        angle = 5 / 10_000 ** (2 * (place // 2) / 8)
        expected = math.cos(angle) if place % 2 else math.sin(angle)
        assert code[0, 5, place] == pytest.approx(expected, abs=1e-6)


def table(origin: tuple[int, ...], shape: tuple[int, int, int]) -> torch.Tensor:
    """Codes of width 8, (slots, rows, cols, 8)."""
    model = ModelConfig(patch=8, position_grid=origin)
    grid = PatchGrid(*shape, tubelet=2, patch=8)
    return position_table(model, grid, 8).reshape(*shape, 8)


@pytest.mark.parametrize("origin", [(), (3, 4, 5)])
def test_codes_on_the_grid_that_was_trained_are_the_fixed_ones(origin: tuple[int, ...]) -> None:
    assert torch.equal(table(origin, (3, 4, 5)).reshape(1, 60, 8), position_code(60, 8))


def test_a_patch_over_four_of_theirs_has_the_mean_of_their_codes() -> None:
    """Half the rows and columns: token (2, 1, 0) covers rows 2 and 3, columns 0 and 1."""
    fine, coarse = table((), (3, 4, 6)), table((3, 4, 6), (3, 2, 3))
    torch.testing.assert_close(coarse[2, 1, 0], fine[2, 2:4, 0:2].mean(dim=(0, 1)))


def test_twice_the_slots_lie_a_quarter_beside_theirs() -> None:
    """Their slot s is centred at 2 s + 0.5 of ours: our slot 3 is 3/4 slot 1 and 1/4 slot 2."""
    theirs, ours = table((), (3, 2, 2)), table((3, 2, 2), (6, 2, 2))
    torch.testing.assert_close(ours[3], 0.75 * theirs[1] + 0.25 * theirs[2])
    torch.testing.assert_close(ours[0], theirs[0])


def test_encoder_and_decoder_sit_on_the_same_interpolated_grid() -> None:
    plan = small_plan()
    model = plan.model.model_copy(update={"position_grid": (4, 2, 2)})
    built = build_autoencoder(plan.model_copy(update={"model": model}))
    grid = built.encoder.patches
    for part, width in ((built.encoder, 128), (built.decoder, 64)):
        assert torch.equal(part.position, position_table(model, grid, width))
        assert not torch.equal(part.position, position_code(64, width))


@pytest.mark.parametrize("grid", [[4, 4], [4, 4, 0], [1, 2, 3, 4]])
def test_a_grid_has_three_sizes(grid: list[int]) -> None:
    with pytest.raises(PlanError, match="three sizes from 1 to 512"):
        plan_from_mapping({"model": {"position_grid": grid}}, "of a test")
