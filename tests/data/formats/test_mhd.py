"""MetaImage sequences, written here by hand from the format's description."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from echofm_core.data.decode import sources
from echofm_core.data.formats.mhd import read_header, read_sequence
from echofm_core.runtime.errors import UnreadableFileError

VALUES = np.arange(2 * 3 * 4).reshape(2, 3, 4)  # (frames, height, width)


def write(folder: Path, data: bytes, **changes: str) -> Path:
    lines = {
        "NDims": "3",
        "DimSize": "4 3 2",
        "ElementType": "MET_UCHAR",
        "ElementDataFile": "x.raw",
        **changes,
    }
    (folder / "x.raw").write_bytes(data)
    file = folder / "x.mhd"
    file.write_text("".join(f"{key} = {value}\n" for key, value in lines.items()))
    return file


def test_frames_in_the_order_that_they_lie(tmp_path: Path) -> None:
    file = write(tmp_path, VALUES.astype(np.uint8).tobytes())
    assert read_header(file).shape == (2, 3, 4)
    np.testing.assert_array_equal(read_sequence(file), VALUES)
    assert sources(str(file)) == [file, tmp_path / "x.raw"]


@pytest.mark.parametrize(
    ("spacing", "expected"),
    [("20 30 1", (2.0, 3.0)), ("20", None), ("wide high 1", None), ("0.1 30 1", None)],
)
def test_the_spacing_is_in_millimetres(
    tmp_path: Path, spacing: str, expected: tuple[float, float] | None
) -> None:
    file = write(tmp_path, VALUES.astype(np.uint8).tobytes(), ElementSpacing=spacing)
    assert read_header(file).pixel == expected


@pytest.mark.parametrize(
    ("kind", "dtype", "big"),
    [("MET_SHORT", ">i2", "True"), ("MET_SHORT", "<i2", "False"), ("MET_FLOAT", "<f4", "False")],
)
def test_other_number_formats(tmp_path: Path, kind: str, dtype: str, big: str) -> None:
    data = VALUES.astype(dtype).tobytes()
    file = write(tmp_path, data, ElementType=kind, BinaryDataByteOrderMSB=big)
    np.testing.assert_array_equal(read_sequence(file), VALUES)


def test_compressed(tmp_path: Path) -> None:
    data = zlib.compress(VALUES.astype(np.uint8).tobytes())
    file = write(tmp_path, data, CompressedData="True")
    np.testing.assert_array_equal(read_sequence(file), VALUES)


def test_a_cut_file_gives_its_whole_frames(tmp_path: Path) -> None:
    file = write(tmp_path, VALUES.astype(np.uint8).tobytes()[:23])
    np.testing.assert_array_equal(read_sequence(file), VALUES[:1])


@pytest.mark.parametrize(
    "changes",
    [{"DimSize": "4 3"}, {"DimSize": "4 3 0"}, {"DimSize": "4 3 2 2"}, {"DimSize": "a b c"},
     {"DimSize": "-4 3 2"}, {"ElementType": "MET_OTHER"}, {"ElementDataFile": "/etc/passwd"},
     {"ElementDataFile": "../x.raw"}, {"ElementDataFile": "none.raw"}, {"ElementDataFile": "LIST"},
     {"ElementDataFile": ""}, {"ElementDataFile": "."}, {"ElementDataFile": ".."},
     {"CompressedData": "True"}],
)  # fmt: skip
def test_what_is_no_sequence_is_refused(tmp_path: Path, changes: dict[str, str]) -> None:
    """A size of two axes is one frame, which is a still: here its raw file is one byte short."""
    file = write(tmp_path, VALUES.astype(np.uint8).tobytes()[:11], **changes)
    with pytest.raises(UnreadableFileError):
        read_sequence(file)
