"""Known pixel sizes, from a file to the frames of a store. Centimetres are derived by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from echofm_core.contract import ENCODER, HEADS, STF_NET
from echofm_core.data.config import DataConfig, Square
from echofm_core.data.decode import decode_clip
from echofm_core.data.limits import PixelSize, believable_size
from echofm_core.data.manifest import manifest_from_rows
from echofm_core.data.resize import in_square, letterbox
from echofm_core.data.store.build import build_store
from echofm_core.data.store.clip_store import ClipStore, open_stores
from echofm_core.data.windows import ClipWindows
from echofm_core.inference.files import read_file
from echofm_core.models.build import build_echo_model
from echofm_core.models.saved import load_model, save_model
from echofm_core.models.weights import to_arrays
from echofm_core.runtime.errors import StoreError
from tests.data.files import (
    header,
    region,
    save_dicom,
    speckle,
    with_pixels,
    write_avi,
    write_nifti,
)
from tests.models.small import small_plan

CONFIG = DataConfig(size=32, frames=4, window_seconds=0.2, min_clip_frames=4)


@pytest.mark.parametrize(
    ("across", "down", "expected"),
    [
        (0.1, 0.2, PixelSize(0.1, 0.2)),
        (-0.1, -0.2, PixelSize(0.1, 0.2)),
        (0.04, 0.2, None),  # 4 cm across
        (0.1, 1.0, None),  # 100 cm down
        (0.0, 0.2, None),
        (math.nan, 0.2, None),
        (math.inf, 0.2, None),
    ],
)
def test_a_size_is_believed_where_a_heart_fits(
    across: float, down: float, expected: PixelSize | None
) -> None:
    assert believable_size(across, down, 100, 100) == expected


def disc(pixel: PixelSize, shape: tuple[int, int], top: int) -> tuple[np.ndarray, np.ndarray]:
    """A bright disc of 3 cm radius, its centre 7 cm below the sector's top and on its axis; the
    sector is a box from row ``top`` on, 4 columns away from both sides."""
    sector = np.zeros(shape, bool)
    sector[top:, 4:-4] = True
    y, x = np.mgrid[: shape[0], : shape[1]]
    down = (y + 0.5 - top) * pixel.down - 7
    across = (x + 0.5 - shape[1] / 2) * pixel.across
    return np.where(np.hypot(across, down) < 3, 200, 40).astype(np.uint8)[None], sector


@pytest.mark.parametrize(
    ("pixel", "shape", "top"),
    [
        (PixelSize(0.1, 0.1), (160, 200), 0),
        (PixelSize(0.05, 0.05), (400, 300), 20),  # deeper than the field, narrower than it
        (PixelSize(0.2, 0.1), (160, 200), 6),  # pixels that are not square
        (PixelSize(0.5, 0.4), (30, 40), 1),  # enlarged
    ],
)
def test_a_heart_has_one_size_whatever_showed_it(
    pixel: PixelSize, shape: tuple[int, int], top: int
) -> None:
    """64 pixels for 16 cm are 4 a cm: a disc of 12 pixels around row 28, column 32, whose area is
    pi 12^2; edges that fall between pixels of the source cost up to a row."""
    frames, sector = disc(pixel, shape, top)
    stored, mask = in_square(frames, sector, pixel, Square(64, 16.0))
    bright = stored[0] > 120
    rows, columns = np.nonzero(bright)
    assert rows.mean() + 0.5 == pytest.approx(28, abs=0.8)
    assert columns.mean() + 0.5 == pytest.approx(32, abs=0.8)
    assert bright.sum() == pytest.approx(math.pi * 12**2, rel=0.06)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == pytest.approx((24, 24), abs=2)
    assert not stored[0][~mask].any()
    # The sector's sides, 4 columns in: as far from the axis as in the source, or the whole square.
    half = min(8.0, (shape[1] / 2 - 4) * pixel.across)
    assert mask.any(axis=0).sum() == pytest.approx(8 * half, abs=2)


def test_without_a_size_or_a_field_the_whole_picture_is_shown() -> None:
    frames, sector = disc(PixelSize(0.1, 0.1), (160, 200), 0)
    for pixel, field in ((None, 16.0), (PixelSize(0.1, 0.1), 0.0)):
        stored, mask = in_square(frames, sector, pixel, Square(64, field))
        np.testing.assert_array_equal(stored, letterbox(frames, 64) * mask)


def sized(folder: Path, name: str, x: float, y: float) -> dict[str, object]:
    """A DICOM cine of 64 rows and 80 columns, whose image fills the frame."""
    item = region(box=(0, 0, 79, 63))
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
    item.PhysicalDeltaX, item.PhysicalDeltaY = x, y
    dataset = header(Rows=64, Columns=80, FrameTime="20", regions=[item])
    pixels = with_pixels(dataset, "MONOCHROME2", speckle(12, 64, 80))
    path = save_dicom(folder / f"{name}.dcm", pixels)
    return {"dataset": "own", "patient_id": name, "clip_id": name, "path": str(path)}


def test_every_form_that_knows_the_size_hands_it_on(tmp_path: Path) -> None:
    """64 x 80 pixels, 4 mm across and 2.5 mm down, as DICOM, NIfTI and MHD say it."""
    frames = speckle(12, 64, 80)
    write_nifti(tmp_path / "a.nii.gz", frames, pixel=(4.0, 2.5))
    (tmp_path / "a.raw").write_bytes(frames.tobytes())
    lines = ("NDims = 3", "DimSize = 80 64 12", "ElementType = MET_UCHAR")
    lines += ("ElementSpacing = 4.0 2.5 1", "ElementDataFile = a.raw")
    (tmp_path / "a.mhd").write_text("\n".join(lines))
    dicom = Path(str(sized(tmp_path, "a", x=0.4, y=0.25)["path"]))
    for path in (dicom, tmp_path / "a.nii.gz", tmp_path / "a.mhd"):
        assert decode_clip(str(path), "camus").pixel == pytest.approx((0.4, 0.25)), path.name


def test_a_file_is_read_with_the_frames_that_a_store_would_hold(tmp_path: Path) -> None:
    plan = small_plan()
    weights = to_arrays(build_echo_model(plan), [ENCODER, STF_NET, HEADS])
    save_model(tmp_path / "model", weights, plan, plan.finetune.tasks)
    row = sized(tmp_path, "a", x=0.4, y=0.25)
    store, _ = build_store(manifest_from_rows([row]), tmp_path / "s", plan.data)
    reading = read_file(load_model(tmp_path / "model"), Path(str(row["path"])), "cpu")
    np.testing.assert_array_equal(reading.first.sector, store.sector("a"))
    assert any((frame == reading.first.frames[0]).all() for frame in store.frames("a"))


@pytest.fixture
def manifest(tmp_path: Path) -> pd.DataFrame:
    """The same pixels: of known size, of one that cannot be, and in a file that does not say."""
    avi = write_avi(tmp_path / "c.avi", speckle(12, 64, 80), 50)
    return manifest_from_rows(
        [
            sized(tmp_path, "a", x=0.4, y=0.25),
            sized(tmp_path, "b", x=0.4, y=25.0),
            {"dataset": "own", "patient_id": "c", "clip_id": "c", "path": str(avi)},
        ]
    )


def test_a_store_shows_the_field_where_the_size_is_known(
    manifest: pd.DataFrame, tmp_path: Path
) -> None:
    """Of 64 x 80 pixels, letterboxing leaves 3 rows black at 32 pixels, above and below. The field
    of 17 cm takes all 16 cm of depth, 30 of 32 rows from the first, and the middle of 32 cm."""
    store, _ = build_store(manifest, tmp_path / "s", CONFIG)
    lit = {clip: np.flatnonzero(store.sector(clip).any(axis=1)) for clip in "abc"}
    assert (lit["a"][0], lit["a"][-1]) == pytest.approx((0, 29), abs=1)
    for clip in "bc":
        assert (lit[clip][0], lit[clip][-1]) == pytest.approx((3, 28), abs=1)
    assert store.sector("a").any(axis=0).all()


def test_a_store_of_another_field_is_built_anew_and_refused(
    manifest: pd.DataFrame, tmp_path: Path
) -> None:
    whole = CONFIG.model_copy(update={"field_cm": 0.0})
    first = build_store(manifest, tmp_path / "s", CONFIG)[0]
    with pytest.raises(StoreError, match="32 pixels that show 17 cm, the plan asks for 32 pixels;"):
        ClipWindows(first, manifest, whole)
    second = build_store(manifest, tmp_path / "s", whole)[0]
    assert second.digest() != first.digest()
    assert len(ClipWindows(second, manifest, whole)) == 3
    build_store(manifest[:1], tmp_path / "side/one", CONFIG)
    build_store(manifest[1:], tmp_path / "side/two", whole)
    with pytest.raises(StoreError, match="different sizes"):
        open_stores(tmp_path / "side")
    assert ClipStore([tmp_path / "s"]).square == (32, 0.0)
