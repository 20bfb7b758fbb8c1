import numpy as np
import pytest

from echofm_core.training.augment import Augmentation

STILL = {"shift": 0.0, "scale": 0.0, "rotation": 0.0, "gain": 0.0, "gamma": 0.0}


def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 32, 32), dtype=np.uint8)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_no_change_is_no_change() -> None:
    np.testing.assert_array_equal(Augmentation(**STILL)(frames(), rng()), frames())


def test_same_stream_same_change_and_the_input_stays() -> None:
    given = frames()
    first, second = (Augmentation()(given, rng(4)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(given, frames())
    assert (Augmentation()(given, rng(5)) != first).any()


def test_all_frames_move_alike() -> None:
    same = np.repeat(frames()[:1], 5, axis=0)
    moved = Augmentation()(same, rng())
    assert (moved == moved[:1]).all()
    assert moved.dtype == np.uint8


def test_shift_moves_by_whole_pixels_where_asked() -> None:
    """One bright pixel lands where the first two draws send it: shift * draw * side."""
    still = np.zeros((1, 101, 101), np.uint8)
    still[0, 50, 50] = 200
    dx, dy = rng().uniform(-1.0, 1.0, size=6)[:2]
    moved = Augmentation(**STILL | {"shift": 0.2})(still, rng()).astype(float)[0]
    y, x = np.indices(moved.shape)
    # OpenCV interpolates at 1/32 of a pixel.
    assert (x * moved).sum() / moved.sum() - 50 == pytest.approx(0.2 * dx * 101, abs=0.05)
    assert (y * moved).sum() / moved.sum() - 50 == pytest.approx(0.2 * dy * 101, abs=0.05)


def test_black_stays_black_and_up_stays_up() -> None:
    black = np.zeros((2, 32, 32), np.uint8)
    assert not Augmentation()(black, rng()).any()
    upper = black.copy()
    upper[:, :12] = 200
    for seed in range(50):
        moved = Augmentation()(upper, rng(seed))
        assert moved[:, :16].mean() > 2 * moved[:, 16:].mean()


def test_gain_and_gamma_are_monotone() -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8).reshape(1, 16, 16), (2, 1, 1))
    settings = Augmentation(**STILL | {"gain": 0.2, "gamma": 0.3})
    for seed in range(20):
        changed = settings(ramp, rng(seed))[0].reshape(-1).astype(int)
        assert (np.diff(changed) >= 0).all()
