"""Pixels without compression: what their samples mean, and headers that say more than is there."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless

from echofm_core.data.dicom.frames import read_cine
from echofm_core.runtime.errors import UnreadableFileError
from tests.data.dicom.made import cine, run_length, write_encapsulated
from tests.data.files import header, save_dicom, speckle, with_pixels

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (4, 16, 18, 3), dtype=np.uint8)
LUMA = np.array([0.299, 0.587, 0.114])


def decode(tmp_path: Path, dataset: Dataset) -> NDArray[np.uint8]:
    return read_cine(save_dicom(tmp_path / "a.dcm", dataset))[0]


def made(photometric: str, pixels: NDArray[Any], **values: object) -> Dataset:
    dataset = with_pixels(header(), photometric, pixels)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
def test_grey(tmp_path: Path, photometric: str) -> None:
    """By hand: in MONOCHROME1 the largest value is black."""
    frames = speckle(5)
    expected = frames if photometric == "MONOCHROME2" else 255 - frames
    np.testing.assert_array_equal(decode(tmp_path, made(photometric, frames)), expected)


@pytest.mark.parametrize("bits", [9, 10, 12, 16])
@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
def test_wide_samples(tmp_path: Path, bits: int, photometric: str) -> None:
    """By hand: all stored bits set are white. Bits above them are no image (overlays, once)."""
    frames = cine(white=2**bits - 1)
    above = (RNG.integers(0, 2**16, frames.shape) >> bits << bits).astype(np.uint16)
    grey = np.rint(frames * (255 / (2**bits - 1)))
    expected = grey if photometric == "MONOCHROME2" else 255 - grey
    dataset = made(photometric, frames | above, BitsStored=bits, HighBit=bits - 1)
    np.testing.assert_array_equal(decode(tmp_path, dataset), expected)


@pytest.mark.parametrize(("bits", "kind"), [(8, np.int8), (12, np.int16), (16, np.int16)])
def test_signed_samples(tmp_path: Path, bits: int, kind: type[np.signedinteger[Any]]) -> None:
    """By hand: the most negative is black, the most positive white, -1 just below the middle."""
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    frames = np.array([low, -1, 0, high], kind).reshape(1, 2, 2)
    dataset = made("MONOCHROME2", frames, BitsStored=bits, PixelRepresentation=1)
    assert decode(tmp_path, dataset).ravel().tolist() == [0, 127, 128, 255]


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize(
    ("photometric", "expected"), [("RGB", COLOUR @ LUMA), ("YBR_FULL", COLOUR[..., 0])]
)
def test_colour_by_pixel_and_by_plane(
    tmp_path: Path, planar: int, photometric: str, expected: NDArray[Any]
) -> None:
    """YBR: the Y channel. RGB: the luma of ITU-R BT.601, worked out in floating point."""
    dataset = made(photometric, COLOUR, PlanarConfiguration=planar)
    if planar:
        dataset.PixelData = np.ascontiguousarray(np.moveaxis(COLOUR, -1, 1)).tobytes()
    assert np.abs(decode(tmp_path, dataset) - expected).max() <= 1


@pytest.mark.parametrize("frames", [4, 1])
def test_halved_chroma(tmp_path: Path, frames: int) -> None:
    """PS3.3 C.7.6.3.1.2: for two pixels Y1 Y2 Cb Cr."""
    luminance = COLOUR[:frames, ..., 0]
    parts = np.zeros((frames, 16, 9, 4), np.uint8)
    parts[..., :2] = luminance.reshape(frames, 16, 9, 2)
    parts[..., 2:] = 77
    dataset = made("YBR_FULL_422", COLOUR[:frames])
    dataset.PixelData = parts.tobytes()
    np.testing.assert_array_equal(decode(tmp_path, dataset), luminance)


def test_chroma_that_is_only_said_to_be_halved(tmp_path: Path) -> None:
    dataset = made("YBR_FULL_422", COLOUR)
    np.testing.assert_array_equal(decode(tmp_path, dataset), COLOUR[..., 0])


def test_wide_colour(tmp_path: Path) -> None:
    """By hand: 257 v of 65535 is v of 255."""
    dataset = made("RGB", COLOUR.astype(np.uint16) * 257)
    assert np.abs(decode(tmp_path, dataset) - COLOUR @ LUMA).max() <= 1


def palette(dataset: Dataset, entries: NDArray[np.uint16], first: int = 0) -> Dataset:
    """The same table for red, green and blue: grey."""
    for name in ("Red", "Green", "Blue"):
        descriptor = [len(entries) % 2**16, first, 16]
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", descriptor)
        setattr(dataset, f"{name}PaletteColorLookupTableData", entries.tobytes())
    return dataset


FALLING = np.arange(255, -1, -1, dtype=np.uint16)


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param(FALLING * 257, id="16 bits"),
        pytest.param(FALLING, id="8 bits in 16-bit words"),
    ],
)
def test_palette_of_eight_bit_samples(tmp_path: Path, entries: NDArray[np.uint16]) -> None:
    """By hand: a falling ramp, so that sample v is the grey 255 - v."""
    frames = speckle(4)
    dataset = palette(made("PALETTE COLOR", frames), entries)
    np.testing.assert_array_equal(decode(tmp_path, dataset), 255 - frames)


def test_palette_of_wide_samples(tmp_path: Path) -> None:
    """By hand: 4096 entries, of which v is white minus v."""
    frames = cine(white=4095)
    entries = np.rint(np.arange(4095, -1, -1) * (65535 / 4095)).astype(np.uint16)
    dataset = palette(made("PALETTE COLOR", frames, BitsStored=12), entries)
    np.testing.assert_array_equal(decode(tmp_path, dataset), entries[frames] >> 8)


def test_palette_that_starts_later(tmp_path: Path) -> None:
    """PS3.3 C.7.6.3.1.5: samples below the first mapped one have its colour, those above the last
    one the last's."""
    frames = np.array([0, 100, 101, 103, 255], np.uint8).reshape(1, 1, 5)
    entries = np.array([10, 20, 30, 40], np.uint16) * 257
    dataset = palette(made("PALETTE COLOR", frames), entries, first=100)
    assert decode(tmp_path, dataset).ravel().tolist() == [10, 10, 20, 40, 40]


def test_palette_of_run_lengths(tmp_path: Path) -> None:
    frames = speckle(4)
    images = [run_length(frame) for frame in frames]
    values = {
        f"{name}PaletteColorLookupTable{part}": value
        for name in ("Red", "Green", "Blue")
        for part, value in (("Descriptor", [256, 0, 16]), ("Data", (FALLING * 257).tobytes()))
    }
    path = write_encapsulated(
        tmp_path / "a.dcm", images, RLELossless, frames, "PALETTE COLOR", **values
    )
    np.testing.assert_array_equal(read_cine(path)[0], 255 - frames)


@pytest.mark.parametrize("declared", [1, 3, 7, 10**9, 0, -4, None])
def test_as_many_frames_as_there_are_bytes_for(tmp_path: Path, declared: int | None) -> None:
    frames = speckle(5)
    dataset = made("MONOCHROME2", frames)
    if declared is None:
        del dataset.NumberOfFrames
    else:
        dataset.NumberOfFrames = declared
    np.testing.assert_array_equal(decode(tmp_path, dataset), frames)


def test_padding_behind_the_frames_is_no_frame(tmp_path: Path) -> None:
    frames = speckle(5)
    dataset = made("MONOCHROME2", frames)
    dataset.PixelData += b"\0" * 1000
    np.testing.assert_array_equal(decode(tmp_path, dataset), frames)


def test_a_cut_file_keeps_the_frames_before_the_cut(tmp_path: Path) -> None:
    frames = speckle(5)
    path = save_dicom(tmp_path / "a.dcm", made("MONOCHROME2", frames))
    path.write_bytes(path.read_bytes()[: -64 * 64 - 10])
    np.testing.assert_array_equal(read_cine(path)[0], frames[:3])


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    "lies",
    [
        {"Rows": 65535, "Columns": 65535},
        {"Rows": 65535, "Columns": 65535, "NumberOfFrames": 2**31 - 1},
        {"Rows": 4000, "NumberOfFrames": 2**31 - 1},
        {"BitsAllocated": 16, "NumberOfFrames": 100_000},
        {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "Rows": 60000},
    ],
)
def test_memory_is_bounded_by_the_file(
    tmp_path: Path, lies: dict[str, object], compressed: bool
) -> None:
    """Headers that ask for up to 9 exabytes, on files of 20 kB: read as what is there, or refused,
    within 64 MB."""
    frames = speckle(5)
    if compressed:
        images = [run_length(frame) for frame in frames]
        path = write_encapsulated(tmp_path / "a.dcm", images, RLELossless, frames, **lies)
    else:
        path = save_dicom(tmp_path / "a.dcm", made("MONOCHROME2", frames, **lies))
    tracemalloc.start()
    try:
        read_cine(path)
    except UnreadableFileError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 64 * 2**20


@pytest.mark.parametrize(
    "values",
    [
        {"BitsAllocated": 32},
        {"BitsAllocated": 1},
        {"Rows": 0},
        {"SamplesPerPixel": 4},
    ],
)
def test_what_is_no_picture_is_refused(tmp_path: Path, values: dict[str, object]) -> None:
    with pytest.raises(UnreadableFileError, match="8 or 16 bits and one or three samples"):
        decode(tmp_path, made("MONOCHROME2", speckle(2), **values))
