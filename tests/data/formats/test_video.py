"""Pictures of every size that an encoder takes, read back as they were drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from echofm_core.data.formats.video import read_grey
from echofm_core.phantom.writers.echonet_dynamic import write_avi


@pytest.mark.parametrize("side", [16, 48, 64, 112])
def test_frames_come_back_whatever_their_width(tmp_path: Path, side: int) -> None:
    """Flat frames of grey 20, 40, ...: MJPEG keeps a flat block to within 2 levels."""
    drawn = np.stack([np.full((side, side), 20 * step, np.uint8) for step in range(1, 9)])
    write_avi(tmp_path / "clip.avi", drawn, 50.0)
    frames, fps = read_grey(tmp_path / "clip.avi")[:2]
    assert frames.shape == drawn.shape
    assert fps == pytest.approx(50.0)
    assert np.abs(frames.astype(int) - drawn).max() <= 2
