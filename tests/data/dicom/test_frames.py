from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.examples import get_path
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from echofm_core.data.decode import decode_clip
from echofm_core.data.dicom.frames import read_cine
from echofm_core.data.dicom.header import ObjectKind, read_header
from echofm_core.runtime.errors import UnreadableFileError
from tests.data.dicom.made import run_length, write_encapsulated
from tests.data.files import (
    CINE_CLASS,
    header,
    region,
    save_dicom,
    speckle,
    with_pixels,
    write_jpeg_cine,
)


def test_real_cine_is_the_luminance_of_another_decoder() -> None:
    """Against pydicom's own decoder, raw (Y, Cb, Cr), first channel."""
    path = Path(get_path("ybr_color"))
    frames, fps, box = read_cine(path)[:3]
    reference = np.stack(list(pydicom.iter_pixels(path, raw=True)))[..., 0]
    assert frames.shape == (30, 240, 320)
    assert np.abs(frames.astype(int) - reference).max() <= 1
    assert fps == pytest.approx(30, abs=0.01)
    assert box is None


def test_jpeg_cine_with_timing(tmp_path: Path) -> None:
    frames = speckle(9)
    decoded, fps, _ = read_cine(write_jpeg_cine(tmp_path / "a.dcm", frames, FrameTime="20"))[:3]
    assert fps == pytest.approx(50)
    assert np.abs(decoded.astype(int) - frames).mean() < 4


def test_the_region_is_clipped_to_the_frames_that_are_there(tmp_path: Path) -> None:
    """The header declares 640 x 480 and a region to match; the images have 64 x 64: not believed.
    One pixel too far is."""
    for box, expected in (((10, 10, 600, 400), None), ((5, 6, 64, 64), (5, 6, 64, 64))):
        values = {"Rows": 480, "Columns": 640, "SequenceOfUltrasoundRegions": [region(box=box)]}
        path = write_jpeg_cine(tmp_path / "a.dcm", speckle(9), **values)
        assert read_cine(path)[2] == expected


def test_no_pixels(tmp_path: Path) -> None:
    assert header().SOPClassUID == CINE_CLASS
    with pytest.raises(UnreadableFileError, match="no pixels"):
        read_cine(save_dicom(tmp_path / "a.dcm", header()))


def test_run_lengths_that_end_early(tmp_path: Path) -> None:
    """The third frame's plane is short: the one before is shown in its place."""
    frames = speckle(5)
    images = [run_length(frame) for frame in frames]
    images[2] = images[2][: len(images[2]) // 4 * 2]
    path = write_encapsulated(tmp_path / "a.dcm", images, RLELossless, frames)
    frames[2] = frames[1]
    np.testing.assert_array_equal(read_cine(path).frames, frames)


def test_messages_name_no_file(tmp_path: Path) -> None:
    path = tmp_path / "Phantomschild_MRN-7700001.dcm"
    for content in (b"", b"junk" * 99, b"\0" * 128 + b"DICM" + b"\0" * 99):
        path.write_bytes(content)
        with pytest.raises(UnreadableFileError) as caught:
            read_cine(path)
        assert "Phantomschild" not in str(caught.value)
        assert "7700001" not in str(caught.value)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
@pytest.mark.parametrize("meta", [True, False])
def test_without_preamble_and_marker(tmp_path: Path, syntax: str, meta: bool) -> None:
    """As some programs send it on: from the meta information, or from the first element, on."""
    frames = speckle(9)
    dataset = with_pixels(header(FrameTime="20"), "MONOCHROME2", frames)
    path = save_dicom(tmp_path / "a.dcm", dataset, syntax)
    data = path.read_bytes()
    length = int.from_bytes(data[140:144], "little")
    path.write_bytes(data[132:] if meta else data[144 + length :])
    assert read_header(path).kind is ObjectKind.CINE
    cine = read_cine(path)
    np.testing.assert_array_equal(cine.frames, frames)
    assert cine.fps == pytest.approx(50)


def test_what_is_no_dicom_is_said_in_words(tmp_path: Path) -> None:
    """Compressed pixels of which nothing says how, too."""
    (tmp_path / "a.dcm").write_bytes(b"no DICOM " * 99)
    for read in (read_header, read_cine):
        with pytest.raises(UnreadableFileError, match="no DICM marker, and does not begin with"):
            read(tmp_path / "a.dcm")
    path = write_jpeg_cine(tmp_path / "b.dcm", speckle(9))
    data = path.read_bytes()
    path.write_bytes(data[144 + int.from_bytes(data[140:144], "little") :])
    with pytest.raises(UnreadableFileError, match=r"unknown .the header names none"):
        read_cine(path)


def test_uneven_times_of_frames(tmp_path: Path) -> None:
    """By hand: eleven steps of 20 and 60 ms in turns are 420 ms."""
    values = {"FrameTimeVector": ["0", *["20", "60"] * 5, "20"], "FrameTime": "1000"}
    pixels = with_pixels(
        header(**values, FrameIncrementPointer=0x00181065), "MONOCHROME2", speckle(12)
    )
    decoded = decode_clip(str(save_dicom(tmp_path / "a.dcm", pixels)), "d")
    assert decoded.fps == pytest.approx(11 / 0.42)
    assert decoded.times is not None
    np.testing.assert_allclose(decoded.times, np.cumsum([0, *[0.02, 0.06] * 5, 0.02]))
