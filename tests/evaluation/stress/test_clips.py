"""Changed windows of clips in a real store."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from echofm_core.data.config import DataConfig
from echofm_core.data.manifest import manifest_from_rows
from echofm_core.data.store.build import build_store
from echofm_core.data.store.clip_store import ClipStore
from echofm_core.data.windows import ClipWindows, Window
from echofm_core.evaluation.stress.clips import ChangedClips, Watch
from echofm_core.evaluation.stress.stressors import (
    CLEAN,
    STRESSORS,
    UNCHANGED,
    Setting,
    Stressor,
    settings,
)
from tests.data.files import speckle, write_avi

CONFIG = DataConfig(size=32, frames=8, window_seconds=0.5, test_windows=3)
NAMES = ("long", "short")
Served = tuple[ClipStore, pd.DataFrame]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """Two clips, of 2 s and of 0.24 s, which is mirrored."""
    folder = tmp_path_factory.mktemp("clips")
    write_avi(folder / "long.avi", speckle(100, seed=1), 50)
    write_avi(folder / "short.avi", speckle(12, seed=2), 50)
    rows = [{"patient_id": name, "clip_id": name, "path": f"{folder}/{name}.avi"} for name in NAMES]
    manifest = manifest_from_rows({"dataset": "d", "site": "s", **row} for row in rows)
    return build_store(manifest, folder / "store", CONFIG)[0], manifest


def windows(served: Served, setting: Setting, *, seed: int = 7) -> list[Window]:
    clips = ChangedClips(*served, CONFIG, setting, seed, Watch())
    return [window for row in range(len(clips)) for window in clips.test_windows(row)]


def equal(first: list[Window], second: list[Window]) -> bool:
    return len(first) == len(second) and all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for one, other in zip(first, second, strict=True)
        for name in ("frames", "times", "sector")
    )


def test_each_of_seven_changes_has_three_strengths_that_are_not_neutral() -> None:
    assert len(list(settings())) == 1 + 3 * 7
    for stressor in STRESSORS:
        assert len({*stressor.strengths, stressor.neutral}) == 4


@pytest.mark.parametrize("stressor", [CLEAN, *STRESSORS], ids=lambda item: item.name)
def test_the_neutral_strength_gives_the_windows_of_the_ordinary_test(
    served: Served, stressor: Stressor
) -> None:
    ordinary = ClipWindows(*served, CONFIG)
    expected = [window for row in (0, 1) for window in ordinary.test_windows(row)]
    assert equal(windows(served, Setting(stressor, stressor.neutral)), expected)


@pytest.mark.parametrize("setting", list(settings())[1:], ids=lambda s: f"{s.stressor.name}")
def test_a_change_changes_and_repeats_to_the_bit(served: Served, setting: Setting) -> None:
    first = windows(served, setting)
    assert equal(first, windows(served, setting))
    assert not equal(first, windows(served, UNCHANGED))


def test_what_is_drawn_depends_on_clip_and_seed_alone(served: Served) -> None:
    """A clip is changed alike whichever clips stand before it."""
    store, manifest = served
    noise = next(Setting(item, 0.2) for item in STRESSORS if item.name == "speckle")
    alone = windows((store, manifest[manifest["clip_id"] == "short"]), noise)
    assert equal(windows(served, noise)[-1:], alone)
    assert not equal(windows(served, noise, seed=8), windows(served, noise))


def test_a_clip_that_cannot_be_read_is_noted_and_does_not_end_the_test(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its part of the store cannot be read, as on a disk with a bad block."""
    store, manifest = served
    frames = ClipStore.frames

    def fail(self: ClipStore, clip_id: str, *args: int) -> np.ndarray:
        if clip_id == "long":
            raise OSError("Input/output error")
        return frames(self, clip_id, *args)

    monkeypatch.setattr(ClipStore, "frames", fail)
    count = 0

    def read() -> None:
        nonlocal count
        count += 1

    watch = Watch(read)
    clips = ChangedClips(store, manifest, CONFIG, UNCHANGED, 7, watch)
    (black,), (short,) = clips.test_windows(0), clips.test_windows(1)
    assert watch.unusable == {"long": "OSError: Input/output error"}
    assert not black.frames.any()
    assert black.frames.shape == short.frames.shape
    assert short.frames.any()
    assert count == 2, "both were counted"
