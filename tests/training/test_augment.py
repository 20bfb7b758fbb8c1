"""OpenCV interpolates at 1/32 of a pixel, hence the tolerances of places."""

import math

import cv2
import numpy as np
import pytest

from echofm_core.data.windows import ClipWindows, Window
from echofm_core.training.augment import Draws, changed, drawn_windows
from echofm_core.training.augmentation import AugmentationConfig

STILL = dict.fromkeys(AugmentationConfig.model_fields, 0.0)
#: Everything that there is, at once.
ALL = AugmentationConfig(
    shift=0.1, scale=0.1, rotation=10, depth=0.2, crop=0.2, flip=0.5, gain=0.3, gamma=0.3, speckle=1
)


def only(**changes: float) -> AugmentationConfig:
    """Nothing but these."""
    return AugmentationConfig(**STILL | changes)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def augment(given: Window, config: AugmentationConfig, source: np.random.Generator) -> Window:
    return changed(given, config, Draws.of(config, source))


def rest(seed: int = 0) -> np.random.Generator:
    """The generator behind the six draws that every window takes."""
    generator = rng(seed)
    generator.uniform(size=6)
    return generator


def noise() -> np.ndarray:
    return rng().integers(0, 256, (5, 32, 32), dtype=np.uint8)


def window(frames: np.ndarray, sector: np.ndarray | None = None) -> Window:
    """Frames with a sector, the whole picture by default."""
    whole = np.ones(frames.shape[1:], bool)
    times = np.zeros(len(frames), np.float32)
    return Window(frames, times, whole if sector is None else sector)


def fan(side: int) -> np.ndarray:
    """A sector like that of a probe at the top, a tenth of the side from the border."""
    y, x = np.mgrid[:side, :side] - np.array([0.1 * side, (side - 1) / 2]).reshape(2, 1, 1)
    return (np.abs(np.arctan2(x, y)) < 0.7) & (np.hypot(x, y) < 0.8 * side)


def centre_of(picture: np.ndarray) -> tuple[float, float]:
    """Centroid (x, y) of grey values."""
    y, x = np.indices(picture.shape)
    weight = picture.astype(float)
    return (x * weight).sum() / weight.sum(), (y * weight).sum() / weight.sum()


def spot(side: int, x: int, y: int) -> np.ndarray:
    """One bright pixel in one black frame."""
    frames = np.zeros((1, side, side), np.uint8)
    frames[0, y, x] = 200
    return frames


def test_no_change_is_no_change() -> None:
    moved = augment(window(noise(), fan(32)), only(), rng())
    np.testing.assert_array_equal(moved.frames, noise())
    np.testing.assert_array_equal(moved.sector, fan(32))


def test_what_is_off_by_default_draws_nothing() -> None:
    generator = rng(3)
    augment(window(noise()), AugmentationConfig(), generator)
    assert generator.random() == rest(3).random()


def test_same_stream_same_change_and_the_input_stays() -> None:
    given = noise()
    first, second = (augment(window(given), ALL, rng(4)).frames for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(given, noise())
    assert (augment(window(given), ALL, rng(5)).frames != first).any()


def test_all_frames_move_alike() -> None:
    same = np.repeat(noise()[:1], 5, axis=0)
    moved = augment(window(same), ALL, rng()).frames
    assert (moved == moved[:1]).all()
    assert moved.dtype == np.uint8


def test_shift_moves_by_whole_pixels_where_asked() -> None:
    """One bright pixel lands where the first two draws send it: shift * draw * side."""
    dx, dy = rng().uniform(-1.0, 1.0, size=6)[:2]
    moved = augment(window(spot(101, 50, 50)), only(shift=0.2), rng()).frames[0]
    x, y = centre_of(moved)
    assert x - 50 == pytest.approx(0.2 * dx * 101, abs=0.05)
    assert y - 50 == pytest.approx(0.2 * dy * 101, abs=0.05)


def test_depth_stretches_along_the_beam_from_the_top_of_the_sector() -> None:
    """The sector begins in row 10: row y goes to 10 + (y - 10) * stretch, and x stays."""
    stretch = 1 + 0.3 * rest().uniform(-1.0, 1.0)
    sector = np.zeros((101, 101), bool)
    sector[10:, 20:80] = True
    for y in (10, 40, 70):
        moved = augment(window(spot(101, 30, y), sector), only(depth=0.3), rng())
        assert centre_of(moved.frames[0]) == pytest.approx((30, 10 + (y - 10) * stretch), abs=0.05)
        assert moved.sector.any(axis=1).argmax() == 10


def test_a_shallower_picture_is_black_below() -> None:
    seed = next(seed for seed in range(99) if rest(seed).uniform(-1, 1) < -0.9)
    frames = np.full((2, 100, 100), 100, np.uint8)
    moved = augment(window(frames), only(depth=0.3), rng(seed))
    assert not moved.frames[:, 75:].any()
    assert not moved.sector[75:].any()
    assert (moved.frames[:, :67] == 100).all()
    assert moved.frames.max() < 115, "a cubic curve rises a little beside an edge"


def test_a_flip_is_left_right_and_never_up_down() -> None:
    moved = augment(window(noise(), fan(32) & (np.arange(32) < 20)), only(flip=1), rng())
    np.testing.assert_array_equal(moved.frames, noise()[:, :, ::-1])
    np.testing.assert_array_equal(moved.sector, (fan(32) & (np.arange(32) < 20))[:, ::-1])
    asymmetric = np.zeros((1, 32, 32), np.uint8)
    asymmetric[:, :12] = 200
    for seed in range(50):
        mild = AugmentationConfig(flip=0.5, depth=0.1)
        changed = augment(window(asymmetric), mild, rng(seed)).frames
        assert changed[:, :16].mean() > 2 * changed[:, 16:].mean()


def test_a_flip_happens_as_often_as_asked() -> None:
    """200 draws at 0.3: 60 expected, standard deviation 6.5."""
    flips = [
        (augment(window(noise()), only(flip=0.3), rng(seed)).frames != noise()).any()
        for seed in range(200)
    ]
    assert 40 <= sum(flips) <= 80


def test_a_crop_fills_the_frame() -> None:
    """Kept side, left and top from the stream: x goes to (x - left) / kept; nothing turns black."""
    generator = rest()
    kept = 1 - 0.4 * generator.random()
    left, top = generator.random(2) * (1 - kept) * 100
    moved = augment(window(spot(101, 50, 45)), only(crop=0.4), rng()).frames[0]
    found = centre_of(moved)
    assert found == pytest.approx(((50 - left) / kept, (45 - top) / kept), abs=0.1)
    for seed in range(20):
        grey = augment(window(np.full((1, 64, 64), 90, np.uint8)), only(crop=0.5), rng(seed))
        assert (grey.frames[:, 3:-3, 3:-3] == 90).all()
        assert (grey.frames >= 90).all()
        assert grey.sector.all()


def test_speckle_is_blurred_inside_the_sector_only() -> None:
    """The peak of a Gaussian of deviation s is 1 / (2 pi s^2) of the impulse."""
    seed = next(seed for seed in range(99) if rest(seed).random() > 0.9)
    sigma = 2 * rest(seed).random()
    frames = np.zeros((1, 41, 41), np.uint8)
    frames[0, 20, 20] = frames[0, 20, 2] = 255
    sector = np.zeros((41, 41), bool)
    sector[:, 6:] = True
    moved = augment(window(frames, sector), only(speckle=2), rng(seed)).frames[0]
    assert moved[20, 20] == pytest.approx(255 / (2 * math.pi * sigma**2), abs=1)
    assert moved[20, 21] > 0
    np.testing.assert_array_equal(moved[:, :6], frames[0, :, :6])


def test_the_sector_goes_where_the_picture_goes() -> None:
    """A picture that is bright just inside its sector; they part along the border at most."""
    sector = fan(96)
    frames = np.repeat(np.where(sector, 200, 0).astype(np.uint8)[None], 2, axis=0)
    for seed in range(30):
        moved = augment(window(frames, sector), ALL, rng(seed))
        bright = moved.frames[0] > moved.frames[0].max() / 2
        assert (bright != moved.sector).sum() < 0.03 * moved.sector.sum()


def test_what_is_moved_flickers_as_what_is_not() -> None:
    """Speckle of 2 pixels keeps its deviation over time; a mean of neighbours takes 12 % of it."""
    speckle = rng().normal(128, 160, (8, 64, 64)).clip(-1e3, 1e3)
    frames = np.stack([cv2.GaussianBlur(frame, (0, 0), 1.0) for frame in speckle])
    frames = frames.clip(0, 255).astype(np.uint8)
    changes, generator = only(shift=0.02, rotation=8, scale=0.05), rng(1)
    inside = np.s_[:, 12:-12, 12:-12]
    kept = [
        augment(window(frames), changes, generator).frames[inside].std(axis=0).mean()
        for _ in range(20)
    ]
    assert np.mean(kept) == pytest.approx(frames[inside].std(axis=0).mean(), rel=0.03)


def test_black_stays_black() -> None:
    black = np.zeros((2, 32, 32), np.uint8)
    for seed in range(20):
        assert not augment(window(black), ALL, rng(seed)).frames.any()


def test_gain_and_gamma_are_monotone() -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8).reshape(1, 16, 16), (2, 1, 1))
    for seed in range(20):
        moved = augment(window(ramp), only(gain=0.2, gamma=0.3), rng(seed))
        assert (np.diff(moved.frames[0].reshape(-1).astype(int)) >= 0).all()


def test_gain_and_gamma_by_hand() -> None:
    """The fifth draw is the gain's, the sixth the exponent's: 255 * g * (x / 255) ** e."""
    draws = rng().uniform(-1.0, 1.0, size=6)
    gain, exponent = 1 + 0.2 * draws[4], math.exp(0.3 * draws[5])
    moved = augment(
        window(np.full((1, 8, 8), 100, np.uint8)), only(gain=0.2, gamma=0.3), rng()
    ).frames
    assert moved[0, 4, 4] == round(255 * gain * (100 / 255) ** exponent)


@pytest.mark.parametrize(
    "changes", [{"scale": 0.2}, {"depth": 0.3}, {"crop": 0.3}, {"scale": 0.1, "depth": 0.2}]
)
@pytest.mark.parametrize("seed", range(3))
def test_a_larger_picture_is_a_larger_volume_by_area_and_length(
    changes: dict[str, float], seed: int
) -> None:
    """The volume of a half-ellipse section is 8 A^2 / (3 pi L): measured before and after, A as the
    sum of grey, and L of an ellipse as four times the deviation of its grey along the beam."""
    y, x = np.mgrid[:201, :201] - 100
    ellipse = (np.hypot(x / 22, y / 30) < 1).astype(np.uint8)[None] * 200

    def volume(picture: np.ndarray) -> float:
        rows = picture.astype(float).sum(axis=1)
        at = np.arange(len(rows))
        middle = (at * rows).sum() / rows.sum()
        length = 4 * np.sqrt((np.square(at - middle) * rows).sum() / rows.sum())
        return float(rows.sum() ** 2 / length)

    moved = augment(window(ellipse), only(**changes), rng(seed)).frames[0]
    drawn = Draws.of(only(**changes), rng(seed))
    assert abs(drawn.volume(only(**changes))) > 0.01
    measured = math.log(volume(moved) / volume(ellipse[0]))
    assert drawn.volume(only(**changes)) == pytest.approx(measured, abs=0.01)


def test_what_moves_turns_or_brightens_a_heart_leaves_its_volume() -> None:
    config = only(shift=0.2, rotation=20, flip=1, gain=0.3, gamma=0.3, speckle=1)
    assert Draws.of(config, rng()).volume(config) == 0


def test_each_window_has_its_own_volume_and_a_part_of_a_batch_those_of_its_windows(
    clips: ClipWindows,
) -> None:
    rows = np.arange(6)
    whole = drawn_windows(clips, rows, ALL, rng())
    part = drawn_windows(clips, rows, ALL, rng(), slice(2, 5))
    assert len(set(whole.volumes.tolist())) == 6
    np.testing.assert_array_equal(part.volumes, whole.volumes[2:5])
    np.testing.assert_array_equal(part.windows[0].frames, whole.windows[2].frames)
    assert not drawn_windows(clips, rows, None, rng()).volumes.any()
