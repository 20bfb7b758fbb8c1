"""NIfTI against nibabel, an independent reader, in every number format; and headers that lie."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest

from echofm_core.data.formats.nifti import read_header, read_sequence
from echofm_core.runtime.errors import UnreadableFileError
from tests.data.files import speckle, write_nifti

KINDS = ("u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8", "u8", "i8", ">u2", ">f4")
#: Where a NIfTI-1 header keeps its dimensions, number format and place of the pixels.
DIMENSIONS, FORMAT, OFFSET = 40, 70, 108


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", KINDS)
def test_frames_are_nibabels(tmp_path: Path, kind: str, suffix: str) -> None:
    """Values -20 to 300, so that both ends of the grey scale are passed where a format can."""
    low, high = (0 if "u" in kind else -20), (127 if kind.endswith("1") else 300)
    values = np.random.default_rng(0).integers(low, high, (6, 5, 4)).astype(kind)
    image = nibabel.Nifti1Image(
        values, np.eye(4), nibabel.Nifti1Header(endianness="<>"[">" in kind])
    )
    image.set_data_dtype(np.dtype(kind))
    nibabel.save(image, tmp_path / f"a{suffix}")
    expected = np.clip(nibabel.load(tmp_path / f"a{suffix}").get_fdata(), 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(
        read_sequence(tmp_path / f"a{suffix}"), expected.transpose(2, 1, 0)
    )
    assert read_header(tmp_path / f"a{suffix}").shape == (4, 5, 6)


@pytest.mark.parametrize(
    ("unit", "zooms", "expected"),
    [
        ("mm", (3.0, 1.5, 1.0), (0.3, 0.15)),
        ("unknown", (3.0, 1.5, 1.0), (0.3, 0.15)),
        ("meter", (0.003, 0.0015, 1.0), (0.3, 0.15)),
        ("micron", (3000.0, 1500.0, 1.0), (0.3, 0.15)),
        ("mm", (1.0, 1.0, 1.0), (0.1, 0.1)),
        ("unknown", (1.0, 1.0, 1.0), None),  # nobody set it
        ("mm", (1.0, 0.5, 1.0), None),  # 6.4 cm across, but 3 cm down
    ],
)
def test_pixels_have_nibabels_size_in_centimetres(
    tmp_path: Path, unit: str, zooms: tuple[float, ...], expected: tuple[float, float] | None
) -> None:
    """64 columns and 60 rows; the first axis goes across."""
    image = nibabel.Nifti1Image(np.zeros((64, 60, 4), np.uint8), np.eye(4))
    image.header.set_zooms(zooms)
    image.header.set_xyzt_units(unit, "sec")
    image.to_filename(tmp_path / "a.nii.gz")
    found = read_header(tmp_path / "a.nii.gz").pixel
    assert found == (None if expected is None else pytest.approx(expected, rel=1e-6))


def test_scaled_values_are_nibabels(tmp_path: Path) -> None:
    """Stored 0 to 30,000, scaled by 0.01 and moved by -20."""
    values = np.random.default_rng(0).integers(0, 30_000, (6, 5, 4)).astype(np.int16)
    image = nibabel.Nifti1Image(values, np.eye(4))
    image.header.set_slope_inter(0.01, -20)
    image.to_filename(tmp_path / "a.nii")
    expected = np.clip(nibabel.load(tmp_path / "a.nii").get_fdata(), 0, 255).astype(np.uint8)
    assert np.ptp(expected) > 200
    np.testing.assert_array_equal(read_sequence(tmp_path / "a.nii"), expected.transpose(2, 1, 0))


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (DIMENSIONS, struct.pack("<4h", 3, 32767, 32767, 32767)),
        (DIMENSIONS, struct.pack("<8h", 7, 64, 64, 32767, 32767, 32767, 32767, 32767)),
        (DIMENSIONS, struct.pack("<4h", 3, 24, -32, 5)),
        (DIMENSIONS, struct.pack("<h", 2)),
        (FORMAT, struct.pack("<h", 32)),  # complex numbers
        (FORMAT, struct.pack("<h", 128)),  # colours
        (OFFSET, struct.pack("<f", 1e30)),
        (OFFSET, struct.pack("<f", float("nan"))),
        (0, b"\0\0\0\0"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_header_that_lies_is_refused(tmp_path: Path, at: int, value: bytes, packed: bool) -> None:
    data = bytearray(write_nifti(tmp_path / "good.nii", speckle(5, 24, 32)).read_bytes())
    data[at : at + len(value)] = value
    bad = tmp_path / ("bad.nii.gz" if packed else "bad.nii")
    bad.write_bytes(gzip.compress(bytes(data)) if packed else data)
    with pytest.raises(UnreadableFileError):
        read_sequence(bad)
