from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.encaps import encapsulate
from pydicom.examples import get_path
from pydicom.uid import MPEG4HP41, JPEGLSLossless, RLELossless

from echofm_core.data.dicom.frames import read_cine
from echofm_core.errors import UnreadableFileError
from tests.data.files import (
    CINE_CLASS,
    header,
    save_dicom,
    speckle,
    with_pixels,
    write_avi,
    write_jpeg_cine,
)


def test_real_cine_is_the_luminance_of_another_decoder() -> None:
    """Against pydicom's own decoder, raw (Y, Cb, Cr), first channel."""
    path = Path(get_path("ybr_color"))
    frames, fps, region = read_cine(path)
    reference = np.stack(list(pydicom.iter_pixels(path, raw=True)))[..., 0]
    assert frames.shape == (30, 240, 320)
    assert np.abs(frames.astype(int) - reference).max() <= 1
    assert fps == pytest.approx(30, abs=0.01)
    assert region is None


def test_jpeg_cine_with_timing(tmp_path: Path) -> None:
    frames = speckle(9)
    decoded, fps, _ = read_cine(write_jpeg_cine(tmp_path / "a.dcm", frames, FrameTime="20"))
    assert fps == pytest.approx(50)
    assert np.abs(decoded.astype(int) - frames).mean() < 4


@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
def test_uncompressed_grey(tmp_path: Path, photometric: str) -> None:
    frames = speckle(5)
    path = save_dicom(tmp_path / "a.dcm", with_pixels(header(), photometric, frames))
    expected = frames if photometric == "MONOCHROME2" else 255 - frames
    np.testing.assert_array_equal(read_cine(path)[0], expected)


def test_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    """By hand: 65535 is white; 257 * v is v of 255."""
    frames = speckle(5)
    wide = with_pixels(header(), "MONOCHROME2", frames.astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_cine(save_dicom(tmp_path / "a.dcm", wide))[0], frames)


def test_uncompressed_colour(tmp_path: Path) -> None:
    """YBR: the Y channel. RGB: the luma of ITU-R BT.601, worked out in floating point."""
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    ybr = save_dicom(tmp_path / "y.dcm", with_pixels(header(), "YBR_FULL", colour))
    np.testing.assert_array_equal(read_cine(ybr)[0], colour[..., 0])
    rgb = save_dicom(tmp_path / "r.dcm", with_pixels(header(), "RGB", colour))
    luma = colour @ np.array([0.299, 0.587, 0.114])
    assert np.abs(read_cine(rgb)[0] - luma).max() <= 1


@pytest.mark.parametrize("run_length", [False, True])
def test_palette_becomes_grey(tmp_path: Path, run_length: bool) -> None:
    """By hand: an inverted 16-bit ramp, so that index v is the grey 255 - v."""
    frames = speckle(4)
    dataset = with_pixels(header(), "PALETTE COLOR", frames)
    ramp = (np.arange(255, -1, -1, dtype=np.uint16) * 257).tobytes()
    for name in ("Red", "Green", "Blue"):
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(dataset, f"{name}PaletteColorLookupTableData", ramp)
    path = save_dicom(tmp_path / "a.dcm", dataset)
    if run_length:
        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless)
        dataset.save_as(path)
    np.testing.assert_array_equal(read_cine(path)[0], 255 - frames)


def test_video_stream_inside(tmp_path: Path) -> None:
    """Any container decord reads may be inside; the writer here makes Motion JPEG."""
    frames = speckle(12)
    stream = write_avi(tmp_path / "a.avi", frames).read_bytes()
    dataset = _encapsulated(header(), [stream + b"\0" * (len(stream) % 2)], frames)
    decoded, fps, _ = read_cine(save_dicom(tmp_path / "a.dcm", dataset, MPEG4HP41))
    assert decoded.shape == frames.shape
    assert fps == pytest.approx(50)


def test_unknown_coding_is_named(tmp_path: Path) -> None:
    dataset = _encapsulated(header(), [b"\xff\xd8\xff\xf7" + b"\0" * 60] * 3, speckle(3))
    path = save_dicom(tmp_path / "a.dcm", dataset, JPEGLSLossless)
    with pytest.raises(UnreadableFileError, match=r"JPEG-LS.*1\.2\.840\.10008\.1\.2\.4\.80"):
        read_cine(path)


def test_no_pixels(tmp_path: Path) -> None:
    assert header().SOPClassUID == CINE_CLASS
    with pytest.raises(UnreadableFileError, match="no pixels"):
        read_cine(save_dicom(tmp_path / "a.dcm", header()))


def _encapsulated(
    dataset: pydicom.Dataset, images: list[bytes], frames: NDArray[np.uint8]
) -> pydicom.Dataset:
    dataset = with_pixels(dataset, "MONOCHROME2", frames)
    dataset.PixelData = encapsulate(images)
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
    return dataset
