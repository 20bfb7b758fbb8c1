"""A header claims colour; the picture decides."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.uid import MPEG4HP41, JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from echofm_core.data.dicom.colour import shows_colour
from echofm_core.data.dicom.header import ObjectKind, read_header
from echofm_core.data.readers._dicom import Look, look
from echofm_core.phantom.overlay import burn_in, colour_flow
from echofm_core.phantom.scanners import MIMIC
from echofm_core.phantom.writers import dicom
from tests.data.dicom.made import jpeg_2000, run_length, sample, write_encapsulated
from tests.data.files import header, save_dicom, speckle, with_pixels

SCANNER = MIMIC[0]
PHASES = np.linspace(0, 1.5, 12) % 1
GREY = speckle(12, SCANNER.height, SCANNER.width)
OVERLAY = burn_in(GREY, PHASES, SCANNER, 1)
FLOW = colour_flow(OVERLAY, PHASES, SCANNER)
PICTURES = pytest.mark.parametrize(("colour", "expected"), [(OVERLAY, False), (FLOW, True)])


def claiming(path: Path, colour: NDArray[np.uint8], *, declared: bool = True) -> Path:
    """JPEG, with the header of a GE Vivid in colour mode: flag 1, region of type 2."""
    dataset = dicom.cine_header(SCANNER, 0, len(colour), 60, "colour")
    dataset.UltrasoundColorDataPresent = 1
    dataset.SequenceOfUltrasoundRegions = [dicom.region(SCANNER, dicom.COLOUR_FLOW)]
    if not declared:
        del dataset.SequenceOfUltrasoundRegions
    dicom.save_jpeg(path, dataset, colour)
    return path


@PICTURES
@pytest.mark.parametrize("declared", [True, False])
def test_a_coloured_overlay_is_no_colour_flow(
    tmp_path: Path, colour: NDArray[np.uint8], expected: bool, declared: bool
) -> None:
    """Green ECG and yellow text on grey, and the same with a jet, which is gone in no frame."""
    path = claiming(tmp_path / "a.dcm", colour, declared=declared)
    assert read_header(path).kind is ObjectKind.COLOUR
    assert shows_colour(path) is expected
    found = look("a.dcm", tmp_path)
    assert isinstance(found, Look)
    assert found.header.kind is (ObjectKind.COLOUR if expected else ObjectKind.CINE)


def test_colour_in_a_few_frames_is_colour(tmp_path: Path) -> None:
    """A jet in four of twelve frames."""
    some = OVERLAY.copy()
    some[4:8] = FLOW[4:8]
    assert shows_colour(claiming(tmp_path / "a.dcm", some))


def test_a_tinted_grey_map_is_no_colour_flow(tmp_path: Path) -> None:
    """Sepia, by which scanners show grey at the user's wish: one colour at each brightness."""
    level = GREY[..., None] / 255
    sepia = (255 * level ** np.array([0.75, 1.0, 1.5])).astype(np.uint8)
    assert np.ptp(sepia, axis=-1).max() > 60
    assert not shows_colour(claiming(tmp_path / "a.dcm", sepia))
    jet = np.where(FLOW != OVERLAY, FLOW, sepia)
    assert shows_colour(claiming(tmp_path / "b.dcm", jet))


@PICTURES
@pytest.mark.parametrize("coding", ["native", "planar", "palette", "rle", "jpeg_2000", "mp4"])
def test_in_every_kind_of_coding(
    tmp_path: Path, colour: NDArray[np.uint8], expected: bool, coding: str
) -> None:
    path = tmp_path / "a.dcm"
    match coding:
        case "native" | "planar":
            dataset = with_pixels(header(), "RGB", colour)
            if coding == "planar":
                dataset.PlanarConfiguration = 1
                dataset.PixelData = np.ascontiguousarray(np.moveaxis(colour, -1, 1)).tobytes()
            save_dicom(path, dataset)
        case "palette":
            save_dicom(path, as_palette(colour))
        case "rle":
            write_encapsulated(path, [run_length(f) for f in colour], RLELossless, colour, "RGB")
        case "jpeg_2000":
            images = [jpeg_2000(frame) for frame in colour]
            write_encapsulated(path, images, JPEG2000Lossless, colour, "YBR_RCT")
        case "mp4":
            write_encapsulated(
                path, [as_mp4(tmp_path, colour)], MPEG4HP41, colour, "YBR_PARTIAL_420"
            )
    assert shows_colour(path) is expected


def as_palette(colour: NDArray[np.uint8]) -> pydicom.Dataset:
    """Three bits of red and green, two of blue."""
    indices = (colour[..., 0] >> 5 << 5) | (colour[..., 1] >> 5 << 2) | (colour[..., 2] >> 6)
    entries = np.arange(256, dtype=np.uint16)
    dataset = with_pixels(header(), "PALETTE COLOR", indices)
    levels = ((entries >> 5) * 36, (entries >> 2 & 7) * 36, (entries & 3) * 85)
    for name, values in zip(("Red", "Green", "Blue"), levels, strict=True):
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(dataset, f"{name}PaletteColorLookupTableData", (values * 257).tobytes())
    return dataset


def as_mp4(folder: Path, colour: NDArray[np.uint8]) -> bytes:
    size = (SCANNER.width, SCANNER.height)
    writer = cv2.VideoWriter(str(folder / "a.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 30, size)
    for frame in colour:
        writer.write(frame[..., ::-1])
    writer.release()
    data = (folder / "a.mp4").read_bytes()
    return data + b"\0" * (len(data) % 2)


def test_grey_samples_have_no_colour(tmp_path: Path) -> None:
    assert not shows_colour(
        save_dicom(tmp_path / "a.dcm", with_pixels(header(), "MONOCHROME2", GREY))
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("US1_J2KR.dcm", True),  # power Doppler of a lymph node
        ("examples_rgb_color.dcm", True),  # the same
        ("OBXXXX1A_2frame.dcm", False),  # grey, and the flag is 1: a claim that is not so
        ("color3d_jpeg_baseline.dcm", False),
    ],
)
def test_real_pictures(name: str, expected: bool) -> None:
    assert shows_colour(sample(name)) is expected


def test_the_claim_stands_where_nothing_decodes(tmp_path: Path) -> None:
    path = write_encapsulated(tmp_path / "a.dcm", [b"\xff\xd8\xff" * 9], JPEGBaseline8Bit, GREY)
    assert shows_colour(path)
    assert shows_colour(tmp_path / "missing.dcm")
