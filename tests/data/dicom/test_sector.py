from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.examples import get_path

from echofm_core.data.decode import decode_clip
from echofm_core.data.dicom.frames import read_cine
from echofm_core.data.dicom.sector import Box, crop, find_sector, lit_area
from tests.data.files import speckle, wedge


def overlap(one: NDArray[np.bool_], two: NDArray[np.bool_]) -> float:
    """Intersection over union."""
    return float((one & two).sum() / (one | two).sum())


def found(frames: NDArray[np.uint8], region: Box | None = None) -> NDArray[np.bool_]:
    """The sector, which is there."""
    sector = find_sector(frames, region)
    assert sector is not None
    return sector


def with_overlay(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Static text in the corners and a moving ECG trace with its sweep along the bottom."""
    count, height, width = frames.shape
    drawn = frames.copy()
    rng = np.random.default_rng(1)
    trace = (height * 0.965 + rng.integers(-4, 5, width)).astype(int)
    for number, frame in enumerate(drawn):
        cv2.putText(frame, "HOSPITAL 12", (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255, 1)
        cv2.rectangle(frame, (width - 12, 20), (width - 4, height // 2), 200, -1)
        end = width * (number + 1) // count
        points = np.stack([np.arange(end), trace[:end]], axis=1).astype(np.int32)
        cv2.polylines(frame, [points], False, 230, 1)
    return drawn


@pytest.mark.parametrize(("height", "width"), [(240, 320), (480, 640), (708, 1016)])
def test_overlay_is_outside_and_sector_inside(height: int, width: int) -> None:
    truth = wedge(height, width)
    sector = found(with_overlay(speckle(12, height, width)))
    assert overlap(sector, truth) > 0.93
    assert not sector[:20, :100].any()
    assert not sector[20 : height // 2, width - 12 :].any()


def test_dark_flanks_belong_to_the_sector() -> None:
    """A sector whose lateral thirds are at grey levels 0 to 8 only: flicker still shows them."""
    truth = wedge(240, 320)
    frames = speckle(20, 240, 320)
    dim = np.ones((240, 320))
    dim[:, :110] = dim[:, 210:] = 0.04
    assert overlap(found((frames * dim).astype(np.uint8)), truth) > 0.9


def test_region_bounds_the_search() -> None:
    sector = found(speckle(10, 240, 320), (0, 0, 320, 120))
    assert sector.any()
    assert not sector[122:].any()


def test_real_cine_is_its_wedge() -> None:
    """Corners of the wedge read off the frame by eye: left, right and lowest point, in pixels."""
    frames, _, region = read_cine(Path(get_path("ybr_color")))[:3]
    sector = found(frames, region)
    rows, columns = np.flatnonzero(sector.any(axis=1)), np.flatnonzero(sector.any(axis=0))
    assert columns[0] == pytest.approx(40, abs=4)
    assert columns[-1] == pytest.approx(303, abs=4)
    assert rows[-1] == pytest.approx(206, abs=5)
    assert not sector[:18, :60].any()  # text in the corner
    assert not sector[225:].any()  # the menu bar
    assert not sector[30:, 308:].any()  # the depth scale


def test_real_cine_is_cropped_and_masked() -> None:
    decoded = decode_clip(str(get_path("ybr_color")), "mimic_iv_echo")
    assert decoded.frames.shape[1] < 240
    assert not decoded.frames[:, ~decoded.sector].any()
    assert decoded.frames[:, decoded.sector].mean() > 15


def test_a_frozen_clip_keeps_its_lit_area() -> None:
    frames = np.repeat(speckle(1, 240, 320), 10, axis=0)
    assert overlap(found(frames), wedge(240, 320)) > 0.9


def test_black_frames_have_no_sector_and_are_kept_whole() -> None:
    black = np.zeros((5, 40, 60), np.uint8)
    assert find_sector(black) is None
    assert lit_area(black).all()
    assert crop(black, lit_area(black))[0].shape == (5, 40, 60)
