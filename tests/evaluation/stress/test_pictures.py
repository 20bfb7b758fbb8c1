"""What the changes of a picture make of single pixels, by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from echofm_core.data.windows import Window
from echofm_core.evaluation.stress.pictures import gained, shadowed, speckled, zoomed_out

SIZE, FRAMES = 32, 3


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def window(level: int = 100, sector: np.ndarray | None = None) -> Window:
    inside = np.ones((SIZE, SIZE), bool) if sector is None else sector
    frames = np.full((FRAMES, SIZE, SIZE), level, np.uint8) * inside
    return Window(frames, np.arange(FRAMES, dtype=np.float32), inside)


def fan() -> np.ndarray:
    """A sector from the middle of the top row, column 16, as wide as it is deep: its flanks are at
    26.6 degrees, of which the tangent is a half."""
    rows, columns = np.indices((SIZE, SIZE))
    return np.abs(columns - SIZE / 2) <= rows / 2


def test_twice_the_depth_shows_all_at_half_its_size_below_the_same_top() -> None:
    """A picture that is full of 100 becomes a square of half the side. Its top row stays; a pixel
    in the middle column, 15.5, stays too: 15.5 / 2 + left = 15.5 gives left = 7.75, so 8."""
    (deep,) = zoomed_out([window()], 2.0, rng())
    expected = np.zeros((SIZE, SIZE), np.uint8)
    expected[:16, 8:24] = 100
    assert all(np.array_equal(frame, expected) for frame in deep.frames)
    np.testing.assert_array_equal(deep.sector, expected > 0)


def test_a_smaller_heart_is_the_mean_of_the_pixels_that_it_covers() -> None:
    """Columns of 0 and 200 in turn: each of the smaller picture's pixels covers two, mean 100."""
    striped = window()
    striped.frames[:, :, ::2], striped.frames[:, :, 1::2] = 0, 200
    (deep,) = zoomed_out([striped], 2.0, rng())
    np.testing.assert_array_equal(deep.frames[:, :16, 8:24], 100)


def test_the_top_of_a_sector_stays_where_it_is() -> None:
    """Of a sector from row 4 on, row 4 comes to 4 / 2 + up = 4: up = 2."""
    sector = np.zeros((SIZE, SIZE), bool)
    sector[4:, 10:21] = True  # its middle is column 15
    (deep,) = zoomed_out([window(sector=sector)], 2.0, rng())
    rows, columns = np.nonzero(deep.sector)
    assert (rows.min(), rows.max()) == (4, 17)  # 28 rows become 14
    assert columns.mean() == pytest.approx(15, abs=1)
    assert (deep.frames[:, ~deep.sector] == 0).all()


@pytest.mark.parametrize(("decibels", "after"), [(6.0, 126), (-6.0, 74), (60.0, 255), (-60.0, 0)])
def test_a_decibel_is_a_sixtieth_of_the_grey_levels(decibels: float, after: int) -> None:
    """255 / 60 = 4.25 levels a decibel: 6 dB are 25.5, rounded to the even 26; the ends saturate.
    Outside the sector there is no signal to be raised."""
    sector = fan()
    (found,) = gained([window(sector=sector)], decibels, rng())
    assert (found.frames[:, sector] == after).all()
    assert (found.frames[:, ~sector] == 0).all()


def test_a_shadow_is_a_black_wedge_of_its_angle_over_the_heart() -> None:
    """Its middle is drawn from the middle half of the sector's angle. In the last row, 31 below the
    apex, it takes the columns from 16 + 31 tan(middle - 15) to 16 + 31 tan(middle + 15)."""
    sector = fan()
    weak, strong = (shadowed([window(sector=sector)], d, rng())[0].frames for d in (10.0, 30.0))
    black = (strong == 0) & sector
    flank = np.degrees(np.arctan(0.5))
    middle = flank * (2 * rng().uniform(0.25, 0.75) - 1)
    low, high = (16 + 31 * np.tan(np.radians(middle + side)) for side in (-15, 15))
    columns = np.arange(SIZE)
    np.testing.assert_array_equal(
        black[0, -1], (columns > low) & (columns < high) & sector[-1], "the last row"
    )
    assert (black == black[0]).all(), "all frames alike"
    assert (((weak == 0) & sector) < black).any()
    assert (((weak == 0) & sector) <= black).all(), "the weaker lies inside the stronger"
    assert (strong[:, sector & ~black[0]] == 100).all()


def test_speckle_multiplies_by_noise_of_its_deviation() -> None:
    """100 * (1 + 0.2 n) has the mean 100 and the deviation 20, within five standard errors over
    3,072 pixels, and black stays black."""
    (found,) = speckled([window()], 0.2, rng())
    values = found.frames.astype(float)
    assert abs(values.mean() - 100) < 5 * 20 / np.sqrt(values.size)
    assert abs(values.std() - 20) < 5 * 20 / np.sqrt(2 * values.size)
    assert not np.array_equal(found.frames[0], found.frames[1]), "new in each frame"
    (black,) = speckled([window(0)], 0.4, rng())
    assert (black.frames == 0).all()


@pytest.mark.parametrize(
    ("change", "neutral"), [(zoomed_out, 1.0), (gained, 0.0), (shadowed, 0.0), (speckled, 0.0)]
)
def test_nothing_changes_at_the_neutral_strength(
    change: Callable[..., list[Window]], neutral: float
) -> None:
    levels = np.random.default_rng(1).integers(0, 256, (FRAMES, SIZE, SIZE), dtype=np.uint8)
    before = Window(levels * fan(), np.zeros(FRAMES, np.float32), fan())
    (after,) = change([before], neutral, rng())
    np.testing.assert_array_equal(after.frames, before.frames)
    np.testing.assert_array_equal(after.sector, before.sector)


@pytest.mark.parametrize("change", [zoomed_out, gained, shadowed, speckled])
def test_a_clip_without_a_sector_stays_black(change: Callable[..., list[Window]]) -> None:
    (after,) = change([window(sector=np.zeros((SIZE, SIZE), bool))], 1.5, rng())
    assert not after.frames.any()
    assert not after.sector.any()
