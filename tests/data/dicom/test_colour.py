"""Whatever a header says of colour, the picture decides."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.uid import (
    JPEG2000MC,
    MPEG4HP41,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from echofm_core.data.decode import decode_clip
from echofm_core.data.dicom import codecs
from echofm_core.data.dicom.frames import READ, shows_colour
from echofm_core.data.dicom.header import ObjectKind, read_header
from echofm_core.data.readers._dicom import FileHeader, read_file_header
from echofm_core.data.readers._source import Refusal
from echofm_core.phantom.overlay import burn_in, colour_flow
from echofm_core.phantom.scanners import MIMIC
from echofm_core.phantom.writers import dicom
from echofm_core.runtime.errors import UnreadableFileError
from tests.data.dicom.made import jpeg, jpeg_2000, run_length, sample, write_encapsulated
from tests.data.files import header, region, save_dicom, speckle, with_pixels

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
    assert read_header(path).kind is ObjectKind.CINE
    assert shows_colour(path) is expected
    found = read_file_header("a.dcm", tmp_path)
    if not expected:
        assert isinstance(found, FileHeader)
        return
    assert isinstance(found, Refusal)
    assert found.kind == "colour_doppler"
    with pytest.raises(UnreadableFileError, match="colour flow") as caught:
        decode_clip(str(path), "d")
    assert caught.value.kind == "colour_doppler"


@PICTURES
def test_a_header_that_is_silent_decides_nothing(
    tmp_path: Path, colour: NDArray[np.uint8], expected: bool
) -> None:
    dataset = dicom.cine_header(SCANNER, 0, len(colour), 60, "colour")
    dicom.save_jpeg(tmp_path / "a.dcm", dataset, colour)
    assert shows_colour(tmp_path / "a.dcm") is expected


def test_flow_with_holes_is_flow(tmp_path: Path) -> None:
    """One pixel in five of a jet stays grey, as noise makes it; by area it is a twentieth."""
    rng = np.random.default_rng(0)
    colour = np.repeat(speckle(12, 240, 320)[..., None], 3, axis=-1)
    jet = np.zeros((240, 320), bool)
    jet[90:150, 130:194] = True
    for number, frame in enumerate(colour):
        frame[jet & (rng.random(jet.shape) < 0.8)] = (220, 40, 20) if number % 2 else (20, 60, 220)
    large = colour.repeat(2, axis=1).repeat(2, axis=2)
    for place, pictures in (("a.dcm", colour), ("b.dcm", large)):
        assert shows_colour(save_dicom(tmp_path / place, with_pixels(header(), "RGB", pictures)))


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


def test_where_nothing_decodes_that_is_said(tmp_path: Path) -> None:
    """Never that it shows colour, which nobody saw."""
    path = write_encapsulated(tmp_path / "a.dcm", [b"\xff\xd8\xff" * 9], JPEGBaseline8Bit, GREY)
    with pytest.raises(UnreadableFileError, match=r"JPEG Baseline .*is damaged") as caught:
        shows_colour(path)
    assert caught.value.kind == "undecodable"
    with pytest.raises(UnreadableFileError):
        shows_colour(tmp_path / "missing.dcm")


def test_a_syntax_without_decoder_is_named_at_the_first_look(tmp_path: Path) -> None:
    """Of a grey cine whose header claims colour, in a syntax that nothing decodes."""
    write_encapsulated(
        tmp_path / "a.dcm",
        [b"\xff\x4f\xff\x51"] * 9,
        JPEG2000MC,
        GREY,
        UltrasoundColorDataPresent=1,
    )
    found = read_file_header("a.dcm", tmp_path)
    assert isinstance(found, Refusal)
    assert found.kind == "undecodable"
    assert "JPEG 2000 Part 2" in found.reason
    assert "(1.2.840.10008.1.2.4.93)" in found.reason


def test_a_syntax_of_an_extra_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "find_spec", lambda name: None)
    write_encapsulated(
        tmp_path / "a.dcm", [b"\xff\xd8\xff\xf7"] * 9, JPEGLSLossless, GREY,
        UltrasoundColorDataPresent=1,
    )  # fmt: skip
    found = read_file_header("a.dcm", tmp_path)
    assert isinstance(found, Refusal)
    assert found.kind == "undecodable"
    assert "JPEG-LS Lossless" in found.reason
    assert "codecs" in found.reason


def test_one_damaged_frame_is_not_the_cine(tmp_path: Path) -> None:
    images = [jpeg_2000(frame) for frame in FLOW]
    images[0] = images[0][:40]
    path = write_encapsulated(tmp_path / "a.dcm", images, JPEG2000Lossless, FLOW, "YBR_RCT")
    assert shows_colour(path)


def test_a_late_jet_in_pictures_that_are_not_compressed(tmp_path: Path) -> None:
    """Six frames of them fill what is read first, and flow comes in systole alone."""
    frames = np.repeat(speckle(30, 400, 500)[..., None], 3, axis=-1)
    assert not shows_colour(save_dicom(tmp_path / "a.dcm", with_pixels(header(), "RGB", frames)))
    frames[12:20, 150:250, 200:300] = (220, 40, 20)
    path = save_dicom(tmp_path / "b.dcm", with_pixels(header(), "RGB", frames))
    assert path.stat().st_size > 4 * READ
    assert shows_colour(path)


@PICTURES
def test_halved_chroma_that_is_not_compressed(
    tmp_path: Path, colour: NDArray[np.uint8], expected: bool
) -> None:
    """YBR_FULL_422: Y Y Cb Cr for two pixels."""
    count, height, width, _ = colour.shape
    swapped = cv2.cvtColor(colour.reshape(-1, width, 3), cv2.COLOR_RGB2YCrCb)
    pairs = swapped.reshape(count, height, width // 2, 2, 3)
    halved = np.stack([*np.moveaxis(pairs[..., 0], -1, 0), pairs[..., 0, 2], pairs[..., 0, 1]], -1)
    dataset = with_pixels(header(), "YBR_FULL_422", colour)
    dataset.PixelData = halved.tobytes()
    assert shows_colour(save_dicom(tmp_path / "a.dcm", dataset)) is expected


@pytest.mark.parametrize(("height", "width"), [(240, 320), (709, 1016)])
@pytest.mark.parametrize(("place", "expected"), [((0.02, 0.02), False), ((0.45, 0.45), True)])
def test_what_is_coloured_beside_the_image_region_is_no_flow(
    tmp_path: Path, height: int, width: int, place: tuple[float, float], expected: bool
) -> None:
    """A maker's sign, say; of large JPEG the half is looked at, where the region is half too."""
    frames = np.repeat(speckle(12, height, width)[..., None], 3, axis=-1)
    top, left = round(place[0] * height), round(place[1] * width)
    frames[:, top : top + height // 8, left : left + width // 8] = (220, 120, 20)
    box = tuple(round(share * side) for share in (0.2, 0.95) for side in (width, height))
    path = write_encapsulated(
        tmp_path / "a.dcm",
        [jpeg(frame[..., ::-1]) for frame in frames],
        JPEGBaseline8Bit,
        frames,
        "YBR_FULL_422",
        SequenceOfUltrasoundRegions=[region(box=box)],
    )
    assert shows_colour(path) is expected
