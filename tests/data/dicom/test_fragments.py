"""Encapsulated frames, however they are cut up and whatever the tables say of them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from echofm_core.data.dicom.frames import read_cine
from echofm_core.runtime.errors import UnreadableFileError
from tests.data.dicom.made import cine, jpeg, jpeg_2000, run_length, write_encapsulated

FRAMES = cine(6)
CODINGS = {
    JPEGBaseline8Bit: [jpeg(frame) for frame in FRAMES],
    JPEG2000Lossless: [jpeg_2000(frame) for frame in FRAMES],
    RLELossless: [run_length(frame) for frame in FRAMES],
}
BY_CODING = pytest.mark.parametrize("syntax", CODINGS)


def close(decoded: np.ndarray, expected: np.ndarray = FRAMES) -> bool:
    same = decoded.shape == expected.shape
    return same and np.abs(decoded.astype(int) - expected.astype(int)).max() <= 4


def read(tmp_path: Path, syntax: str, pixels: bytes | None = None, **values: object) -> np.ndarray:
    path = write_encapsulated(
        tmp_path / "a.dcm", CODINGS[syntax], syntax, FRAMES, pixels=pixels, **values
    )
    return read_cine(path)[0]


def item(data: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(data)) + data


END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


@BY_CODING
@pytest.mark.parametrize("pieces", [2, 3])
@pytest.mark.parametrize("table", [True, False])
def test_a_frame_in_several_fragments(
    tmp_path: Path, syntax: str, pieces: int, table: bool
) -> None:
    pixels = encapsulate(CODINGS[syntax], fragments_per_frame=pieces, has_bot=table)
    assert close(read(tmp_path, syntax, pixels))


@BY_CODING
def test_fragments_of_different_numbers(tmp_path: Path, syntax: str) -> None:
    """One frame in one piece, the next in two, and so on, with an empty table."""
    pixels = item(b"")
    for number, image in enumerate(CODINGS[syntax]):
        size = -(-len(image) // (number % 3 + 1) // 2) * 2
        pixels += b"".join(item(image[at : at + size]) for at in range(0, len(image), size))
    assert close(read(tmp_path, syntax, pixels + END))


@BY_CODING
@pytest.mark.parametrize(
    "offsets", [(), (0, 1, 2, 3, 4, 5), (0, 2**31), (7, 7, 7, 7, 7, 7), (0,), tuple(range(99))]
)
def test_offset_tables_do_not_count(tmp_path: Path, syntax: str, offsets: tuple[int, ...]) -> None:
    pixels = item(struct.pack(f"<{len(offsets)}I", *offsets))
    pixels += b"".join(map(item, CODINGS[syntax])) + END
    assert close(read(tmp_path, syntax, pixels))


@BY_CODING
def test_extended_offset_table(tmp_path: Path, syntax: str) -> None:
    pixels, offsets, lengths = encapsulate_extended(CODINGS[syntax])
    values = {"ExtendedOffsetTable": offsets, "ExtendedOffsetTableLengths": lengths}
    assert close(read(tmp_path, syntax, pixels, **values))
    values["ExtendedOffsetTable"] = offsets[::-1]
    assert close(read(tmp_path, syntax, pixels, **values))


@BY_CODING
@pytest.mark.parametrize("declared", [1, 2, 50, 10**9, 0, -1])
def test_the_declared_number_of_frames_does_not_count(
    tmp_path: Path, syntax: str, declared: int
) -> None:
    assert close(read(tmp_path, syntax, NumberOfFrames=declared))


@BY_CODING
def test_padding(tmp_path: Path, syntax: str) -> None:
    """Zeros behind each image, an empty fragment, and bytes behind the end."""
    pixels = item(b"") + b"".join(item(image + b"\0" * 4) for image in CODINGS[syntax])
    assert close(read(tmp_path, syntax, pixels + item(b"") + END + b"\0" * 50))


@BY_CODING
@pytest.mark.parametrize("pieces", [1, 2])
def test_a_cut_file_keeps_the_frames_before_the_cut(
    tmp_path: Path, syntax: str, pieces: int
) -> None:
    """Cut within the last image but one; pydicom cannot open such a file at all."""
    pixels = encapsulate(CODINGS[syntax], fragments_per_frame=pieces, has_bot=False)
    path = write_encapsulated(tmp_path / "a.dcm", CODINGS[syntax], syntax, FRAMES, pixels=pixels)
    behind = len(CODINGS[syntax][-1]) + len(CODINGS[syntax][-2]) // 4
    path.write_bytes(path.read_bytes()[:-behind])
    assert close(read_cine(path)[0], FRAMES[:4])


def test_a_frame_of_another_size_is_a_damaged_one(tmp_path: Path) -> None:
    images = [*CODINGS[JPEGBaseline8Bit][:3], jpeg(cine(1, 20, 20)[0]), *CODINGS[JPEGBaseline8Bit]]
    path = write_encapsulated(tmp_path / "a.dcm", images, JPEGBaseline8Bit, FRAMES)
    read = read_cine(path)
    assert close(read.frames, np.concatenate([FRAMES[:3], FRAMES[2:3], FRAMES]))
    assert [note.kind for note in read.notes] == ["damaged_frames"]


def test_where_the_size_changes_the_cine_ends(tmp_path: Path) -> None:
    others = [jpeg(frame) for frame in cine(4, 20, 20)]
    images = [*CODINGS[JPEGBaseline8Bit][:3], *others, *CODINGS[JPEGBaseline8Bit][:3]]
    path = write_encapsulated(tmp_path / "a.dcm", images, JPEGBaseline8Bit, FRAMES)
    assert close(read_cine(path).frames, FRAMES[:3])


@pytest.mark.parametrize("content", [b"\0" * 400, b"\xff\xd8\xff" + b"\0" * 397, b"ab" * 200])
@pytest.mark.parametrize("bot", [False, True])
def test_a_damaged_frame_leaves_the_others_in_time(
    tmp_path: Path, content: bytes, bot: bool
) -> None:
    images = list(CODINGS[JPEGBaseline8Bit])
    images[2] = content
    path = write_encapsulated(
        tmp_path / "a.dcm", images, JPEGBaseline8Bit, FRAMES,
        pixels=encapsulate(images, has_bot=bot),
    )  # fmt: skip
    read = read_cine(path)
    expected = FRAMES.copy()
    expected[2] = FRAMES[1]
    assert close(read.frames, expected)
    assert "1 of 6 frames are damaged (number 3)" in read.notes[0].reason


def test_damaged_frames_at_the_ends_are_left_out(tmp_path: Path) -> None:
    images = list(CODINGS[JPEGBaseline8Bit])
    images[0] = images[-1] = b"\xff\xd8\xff" + b"\0" * 99
    path = write_encapsulated(tmp_path / "a.dcm", images, JPEGBaseline8Bit, FRAMES)
    read = read_cine(path)
    assert close(read.frames, FRAMES[1:-1])
    assert read.notes == ()


def test_the_image_says_its_size_and_not_the_header(tmp_path: Path) -> None:
    assert close(read(tmp_path, JPEGBaseline8Bit, Rows=480, Columns=640))


@pytest.mark.parametrize("place", [0, 3])
def test_an_image_of_gigapixels_is_not_decoded(tmp_path: Path, place: int) -> None:
    """A few bytes whose JPEG header says 65,500 x 65,500."""
    images = list(CODINGS[JPEGBaseline8Bit])
    marker = images[place].index(b"\xff\xc0")
    size = struct.pack(">HH", 65500, 65500)
    images[place] = images[place][: marker + 5] + size + images[place][marker + 9 :]
    path = write_encapsulated(tmp_path / "a.dcm", images, JPEGBaseline8Bit, FRAMES)
    expected = np.concatenate([FRAMES[:place], FRAMES[place - 1 : place], FRAMES[place + 1 :]])
    assert close(read_cine(path).frames, expected)
    path = write_encapsulated(tmp_path / "b.dcm", [images[place]], JPEGBaseline8Bit, FRAMES)
    with pytest.raises(UnreadableFileError, match=r"JPEG Baseline.*damaged"):
        read_cine(path)


@pytest.mark.parametrize("pixels", [item(b"") + END, item(b""), item(b"") + item(b"ab" * 9)])
def test_no_frame_at_all(tmp_path: Path, pixels: bytes) -> None:
    with pytest.raises(UnreadableFileError, match="damaged"):
        read(tmp_path, JPEGBaseline8Bit, pixels)
