from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from echofm_core.data.config import DataConfig
from echofm_core.data.manifest import manifest_from_rows
from echofm_core.data.store.build import build_store
from echofm_core.data.store.clip_store import ClipStore
from echofm_core.data.windows import MEAN, SD, ClipWindows, to_batch
from echofm_core.runtime.errors import StoreError
from tests.data.files import speckle, write_avi

CONFIG = DataConfig(size=32, frames=8, window_seconds=0.5, test_windows=3)


@pytest.fixture
def served(tmp_path: Path) -> tuple[ClipStore, pd.DataFrame]:
    """A clip of 2 s, one of 0.24 s, and a row whose file is not there."""
    write_avi(tmp_path / "long.avi", speckle(100, seed=1), 50)
    write_avi(tmp_path / "short.avi", speckle(12, seed=2), 50)
    manifest = manifest_from_rows(
        {"dataset": "d", "patient_id": name, "clip_id": name, "path": f"{tmp_path}/{name}.avi"}
        for name in ("long", "gone", "short")
    )
    return build_store(manifest, tmp_path / "s", CONFIG)[0], manifest


def test_windows_hold_the_frames_of_their_times(served: tuple[ClipStore, pd.DataFrame]) -> None:
    store, manifest = served
    clips = ClipWindows(store, manifest, CONFIG)
    assert len(clips) == 2
    assert clips.manifest["clip_id"].tolist() == ["long", "short"]
    windows = clips.test_windows(0)
    assert len(windows) == 3
    # By hand: 0.5 s at 50 Hz is 25 intervals; the first window starts at frame 0.
    steps = np.floor(np.linspace(0, 25, 8) + 0.5).astype(int)
    np.testing.assert_array_equal(windows[0].frames, store.frames("long")[steps])
    np.testing.assert_allclose(windows[0].times, steps / 50, rtol=1e-6)
    np.testing.assert_array_equal(windows[2].frames[-1], store.frames("long")[99])


def test_short_clips_are_mirrored_and_say_so(served: tuple[ClipStore, pd.DataFrame]) -> None:
    store, manifest = served
    clips = ClipWindows(store, manifest, CONFIG)
    assert [timeline.mirrored for timeline in clips.timelines] == [False, True]
    (window,) = clips.test_windows(1)
    # By hand: steps 0 4 7 11 14 18 21 25; past frame 11 they fold: 14 -> 8, 18 -> 4, 21 -> 1,
    # and 25 -> 3, on the way forth again.
    expected = store.frames("short")[[0, 4, 7, 11, 8, 4, 1, 3]]
    np.testing.assert_array_equal(window.frames, expected)


def test_training_windows_repeat_with_their_generator(
    served: tuple[ClipStore, pd.DataFrame],
) -> None:
    clips = ClipWindows(*served, CONFIG)
    first = clips.cut(0, clips.timelines[0].draw(np.random.default_rng(5)))
    again = clips.cut(0, clips.timelines[0].draw(np.random.default_rng(5)))
    other = clips.cut(0, clips.timelines[0].draw(np.random.default_rng(6)))
    np.testing.assert_array_equal(first.frames, again.frames)
    assert not np.array_equal(first.frames, other.frames)


def test_batch_is_normalised(served: tuple[ClipStore, pd.DataFrame]) -> None:
    clips = ClipWindows(*served, CONFIG)
    windows = [clips.test_windows(i)[0] for i in range(2)]
    batch = to_batch(windows)
    assert batch.video.shape == (2, 8, 1, 32, 32)
    assert batch.times.shape == (2, 8)
    assert batch.sector.shape == (2, 32, 32)
    grey = windows[1].frames[3].astype(np.float64)
    expected = (grey / 255 - MEAN) / SD
    np.testing.assert_allclose(batch.video[1, 3, 0].numpy(), expected, atol=1e-5)


def test_a_store_of_another_size_is_refused(served: tuple[ClipStore, pd.DataFrame]) -> None:
    with pytest.raises(StoreError, match="32 pixels"):
        ClipWindows(*served, DataConfig(size=64))
