"""Text on the screen: no page of it passes for a sector, and what is burnt into one goes black.

And no heart goes with it: two real cines and phantoms lose no pixel.
"""

from __future__ import annotations

import string
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.data import get_testdata_file
from pydicom.examples import get_path

from echofm_core.data.config import DataConfig
from echofm_core.data.decode import decode_clip
from echofm_core.data.dicom.sector import NoSectorError, crop, find_sector
from echofm_core.data.dicom.text import burnt_in, is_text
from echofm_core.data.findings import Severity
from echofm_core.data.manifest import manifest_from_rows
from echofm_core.data.store.build import build_store
from echofm_core.phantom.heart import draw_heart
from echofm_core.phantom.patients import examine
from echofm_core.phantom.views import View
from tests.data.dicom.test_sector_promise import SCANNERS
from tests.data.files import header, save_dicom, speckle, wedge, with_pixels, write_avi

Frames = NDArray[np.uint8]
COUNT, HEIGHT, WIDTH = 12, 480, 640


def write(frame: Frames, words: str, corner: tuple[int, int], size: float, ink: int) -> Frames:
    font = cv2.FONT_HERSHEY_SIMPLEX
    return np.asarray(cv2.putText(frame, words, corner, font, size, ink, max(1, round(2 * size))))


def page(seed: int, size: float, paper: int, height: int = HEIGHT) -> Frames:
    """Lines of letters and digits, white on black or black on white."""
    rng, step = np.random.default_rng(seed), round(45 * size)
    frame = np.full((height, WIDTH), paper, np.uint8)
    for line in range(1, height // step):
        words = "".join(rng.choice(list(string.ascii_uppercase + string.digits), 60))
        write(frame, words, (10, line * step), size, 255 - paper)
    return frame


def still(size: float, paper: int) -> Frames:
    return np.stack([page(0, size, paper)] * COUNT)


def turning(size: float, paper: int) -> Frames:
    return np.stack([page(number, size, paper) for number in range(COUNT)])


def scrolling(size: float, paper: int) -> Frames:
    whole = page(0, size, paper, 2 * HEIGHT)
    return np.stack([whole[9 * number : 9 * number + HEIGHT] for number in range(COUNT)])


def scanned(size: float, paper: int) -> Frames:
    """Noise over a page makes it flicker everywhere, as a sector does."""
    noise = np.random.default_rng(1).normal(20, 8, (COUNT, HEIGHT, WIDTH))
    return np.clip(0.8 * page(0, size, paper) + noise, 0, 255).astype(np.uint8)


def in_a_wedge(size: float, paper: int) -> Frames:
    return np.asarray(turning(size, paper) * wedge(HEIGHT, WIDTH))


@pytest.mark.parametrize("size", [0.4, 0.7, 1.5])
@pytest.mark.parametrize("paper", [0, 255])
@pytest.mark.parametrize("make", [still, turning, scrolling, scanned, in_a_wedge])
def test_no_page_of_text_is_a_sector(make: object, size: float, paper: int) -> None:
    assert callable(make)
    assert find_sector(make(size, paper)) is None


def test_ultrasound_without_a_wedge_is_still_a_sector() -> None:
    """A linear probe's rectangle, half a sector, and one that fills the picture."""
    frames = speckle(COUNT, HEIGHT, WIDTH)
    noise = np.random.default_rng(0).integers(20, 220, frames.shape, dtype=np.uint8)
    echoes = np.stack([cv2.GaussianBlur(frame, (5, 5), 1.0) for frame in noise])
    shapes = np.zeros((3, HEIGHT, WIDTH), bool)
    shapes[0, 40:440, 150:490] = True
    shapes[1] = wedge(HEIGHT, WIDTH)
    shapes[1, :, : WIDTH // 2] = False
    shapes[2] = True
    for shape in shapes:
        found = find_sector(echoes * shape)
        assert found is not None
        assert (found & shape).sum() > 0.95 * shape.sum()


def dicom(folder: Path, frames: Frames, name: str = "a.dcm") -> Path:
    return save_dicom(folder / name, with_pixels(header(), "MONOCHROME2", frames))


def test_a_hospitals_page_of_text_is_quarantined_and_nothing_is_kept(tmp_path: Path) -> None:
    files = [
        dicom(tmp_path, still(0.7, 0)),
        write_avi(tmp_path / "b.avi", still(0.7, 255)),
        dicom(tmp_path, speckle(COUNT, 240, 320), "c.dcm"),
    ]
    rows = [
        {"dataset": "north", "patient_id": file.stem, "clip_id": file.stem, "path": str(file)}
        for file in files
    ]
    store, found = build_store(manifest_from_rows(rows), tmp_path / "store", DataConfig())
    assert list(store.index.index) == ["c"]
    assert [(item.kind, item.item) for item in found.items] == [
        ("no_sector", "a"),
        ("no_sector", "b"),
    ]


@pytest.mark.parametrize(
    ("dataset", "kind", "side", "kept"),
    [
        ("echonet_dynamic", "avi", 112, True),  # as the publisher prepared it
        ("echonet_dynamic", "avi", 480, False),
        ("north", "avi", 112, False),
        ("mimic_iv_echo", "dcm", 112, True),
        ("mimic_iv_echo", "dcm", 480, False),
    ],
)
def test_prepared_pictures_of_published_data_keep_their_path(
    tmp_path: Path, dataset: str, kind: str, side: int, kept: bool
) -> None:
    frames = np.stack([cv2.resize(frame, (side, side)) for frame in still(0.7, 0)])
    path = write_avi(tmp_path / "a.avi", frames) if kind == "avi" else dicom(tmp_path, frames)
    if kept:
        assert decode_clip(str(path), dataset).frames.any()
    else:
        with pytest.raises(NoSectorError, match="no ultrasound sector"):
            decode_clip(str(path), dataset)


def test_black_clips_hold_nothing_to_quarantine(tmp_path: Path) -> None:
    file = dicom(tmp_path, np.zeros((COUNT, 64, 64), np.uint8))
    assert not decode_clip(str(file), "north").frames.any()


def with_name(frames: Frames, ink: int = 255) -> tuple[Frames, NDArray[np.bool_]]:
    """A name in the middle of every frame, and the pixels of its strokes."""
    strokes = np.zeros(frames.shape[1:], np.uint8)
    write(strokes, "QUINCY 4711", (WIDTH // 2 - 90, 300), 0.8, 255)
    return np.where(strokes > 0, np.uint8(ink), frames), strokes > 0


@pytest.mark.parametrize("quality", [None, 90, 75])
@pytest.mark.parametrize("ink", [255, 230])
def test_a_name_inside_the_sector_goes_black(tmp_path: Path, quality: int | None, ink: int) -> None:
    """Its strokes and what lies between: a silhouette can be read too. Lossy coding blurs it."""
    frames, strokes = with_name(np.asarray(speckle(24, HEIGHT, WIDTH) * 0.6, np.uint8), ink)
    if quality is not None:
        options = [cv2.IMWRITE_JPEG_QUALITY, quality]
        coded = [cv2.imencode(".jpg", frame, options)[1] for frame in frames]
        frames = np.stack([cv2.imdecode(one, cv2.IMREAD_GRAYSCALE) for one in coded])
    sector = find_sector(frames)
    assert sector is not None
    black = burnt_in(frames, sector)
    assert black[strokes & sector].all()
    box = np.argwhere(strokes)
    (top, left), (bottom, right) = box.min(axis=0), box.max(axis=0)
    assert black[top : bottom + 1, left : right + 1].mean() > 0.97
    decoded = decode_clip(str(dicom(tmp_path, frames)), "north")
    (note,) = decoded.notes
    assert (note.kind, note.severity) == ("burnt_in", Severity.REPAIRED)
    assert not decoded.frames[:, crop(black[None], sector)[0][0]].any()


def test_where_much_would_go_it_is_noted_and_stays(tmp_path: Path) -> None:
    frames = np.asarray(speckle(24, HEIGHT, WIDTH) * 0.6, np.uint8)
    for row in range(170, 400, 40):
        for frame in frames:
            write(frame, "QUINCY 4711", (230, row), 0.8, 255)
    sector = find_sector(frames)
    assert sector is not None
    decoded = decode_clip(str(dicom(tmp_path, frames)), "north")
    (note,) = decoded.notes
    assert (note.kind, note.severity) == ("burnt_in", Severity.NOTED)
    assert decoded.frames.max() == 255


def test_what_decoding_found_is_said_again_by_a_store_that_did_not_change(tmp_path: Path) -> None:
    frames, _ = with_name(np.asarray(speckle(24, HEIGHT, WIDTH) * 0.6, np.uint8))
    row = {
        "dataset": "north",
        "patient_id": "p",
        "clip_id": "c",
        "path": str(dicom(tmp_path, frames)),
    }
    manifest = manifest_from_rows([row])
    for _ in range(2):
        _, found = build_store(manifest, tmp_path / "store", DataConfig())
        assert [(item.kind, item.severity) for item in found.items] == [
            ("burnt_in", Severity.REPAIRED)
        ]


@pytest.mark.parametrize("name", ["ybr_color", "color3d_jpeg_baseline.dcm"])
@pytest.mark.parametrize("gain", [1, 2])
def test_real_cines_lose_no_pixel(name: str, gain: int) -> None:
    """Also with doubled gain, where what is bright and hardly moves saturates."""
    source = get_testdata_file(name) if name.endswith(".dcm") else get_path(name)
    if source is None:
        pytest.skip(f"{name} is in the package pydicom-data, which is not installed")
    decoded = decode_clip(str(source), "north")
    assert not decoded.notes
    louder = np.clip(decoded.frames.astype(np.uint16) * gain, 0, 255).astype(np.uint8)
    assert not is_text(louder, decoded.sector)
    assert not burnt_in(louder, decoded.sector).any()


@pytest.mark.parametrize("name", SCANNERS)
def test_phantoms_lose_no_pixel(name: str) -> None:
    scanner, _ = SCANNERS[name]
    rng = np.random.default_rng(2)
    frames = examine(draw_heart(rng, 55, 12), View.A4C, scanner, 24, rng).clip.frames
    sector = find_sector(frames)
    assert sector is not None
    assert not burnt_in(frames, sector).any()
