"""DICOM in every transfer syntax and pixel form that is read, with a person in the header."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.examples import get_path

from echofm_core.data.decode import decode_clip
from echofm_core.data.dicom.sector import find_sector, lit_area
from echofm_core.data.readers.generic import read_loose
from echofm_core.runtime.errors import UnreadableFileError
from tests.data.files import header, region, save_dicom, speckle, with_pixels
from tests.data.fuzz.harness import Format, Seed, assert_harmless, parts
from tests.data.fuzz.mutations import boundary, pick, poke

FRAMES = speckle(9, 48, 64)
#: Elements whose values decide sizes: image module, timing, regions, palette, items, pixels.
ELEMENTS = (
    (0x0028, 0x0002), (0x0028, 0x0004), (0x0028, 0x0006), (0x0028, 0x0008), (0x0028, 0x0010),
    (0x0028, 0x0011), (0x0028, 0x0100), (0x0028, 0x0101), (0x0028, 0x0102), (0x0028, 0x0103),
    (0x0028, 0x1101), (0x0028, 0x1201), (0x0018, 0x1063), (0x0018, 0x1065), (0x0018, 0x0040),
    (0x0018, 0x6011), (0x0018, 0x6012), (0x0018, 0x6018), (0x0018, 0x601E), (0x0008, 0x0008),
    (0x0008, 0x0016), (0x0008, 0x0070), (0x0002, 0x0000), (0x0002, 0x0010), (0xFFFE, 0xE000),
    (0xFFFE, 0xE0DD), (0x7FE0, 0x0010), (0x7FE0, 0x0001), (0x7FE0, 0x0002),
)  # fmt: skip
VRS = (
    b"US",
    b"IS",
    b"DS",
    b"SQ",
    b"OB",
    b"OW",
    b"UN",
    b"UL",
    b"UI",
    b"PN",
    b"LO",
    b"FD",
    b"AT",
    b"zz",
)
DIGITS = (
    b"0",
    b"-1",
    b"2147483647",
    b"4294967296",
    b"1e308",
    b"1e-308",
    b"nan",
    b"inf",
    b"9" * 16,
    b"1\\\\2",
)
SYNTAXES = tuple(
    syntax.encode()
    for syntax in (
        uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian,
        uid.DeflatedExplicitVRLittleEndian, uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit,
        uid.JPEG2000, uid.RLELossless, uid.JPEGLSLossless, uid.JPEGLosslessSV1, uid.MPEG4HP41,
    )
)  # fmt: skip


def plant(folder: Path) -> list[Seed]:
    files = [
        _save(folder, "jpeg", _coded(".jpg"), uid.JPEGBaseline8Bit),
        _save(folder, "jpeg_table", _coded(".jpg", encapsulate_extended), uid.JPEGBaseline8Bit),
        _save(folder, "jpeg_2000", _coded(".jp2"), uid.JPEG2000),
        _save(folder, "plain", _plain(), uid.ExplicitVRLittleEndian),
        _save(folder, "implicit", _plain(), uid.ImplicitVRLittleEndian),
        _save(folder, "big", _plain(np.uint16), uid.ExplicitVRBigEndian),
        _save(folder, "deflated", _plain(), uid.DeflatedExplicitVRLittleEndian),
        _save(folder, "colour", _colour(), uid.ExplicitVRLittleEndian),
        _save(folder, "palette", _palette(), uid.ExplicitVRLittleEndian),
        _save(folder, "runs", _runs(), uid.RLELossless),
        _save(folder, "video", _video(), uid.MPEG4HP41),
    ]
    real = folder / "doe_jane_real.dcm"
    real.write_bytes(Path(str(get_path("ybr_color"))).read_bytes()[:60_000])
    return [Seed(file=file, root=file, read=read_loose) for file in [*files, real]]


def _save(folder: Path, name: str, dataset: Dataset, syntax: str) -> Path:
    dataset.PatientName, dataset.PatientID = "Zebra^Quagga", "zebra-1"
    dataset.InstitutionName, dataset.PatientBirthDate = "Okapi Clinic", "19350607"
    dataset.Manufacturer, dataset.ManufacturerModelName = "GE Vingmed Ultrasound", "Vivid E95"
    dataset.FrameTime, dataset.StudyInstanceUID = 20.0, uid.generate_uid(entropy_srcs=["study"])
    dataset.SequenceOfUltrasoundRegions = [region(box=(0, 0, 63, 47)), region(4, 10)]
    return save_dicom(folder / f"doe_jane_{name}.dcm", dataset, syntax)


def _plain(kind: type[np.generic] = np.uint8) -> Dataset:
    return with_pixels(header(), "MONOCHROME2", FRAMES.astype(kind))


def _colour() -> Dataset:
    return with_pixels(header(), "RGB", np.stack([FRAMES] * 3, axis=-1))


def _palette() -> Dataset:
    dataset = with_pixels(header(), "PALETTE COLOR", FRAMES)
    for name in ("Red", "Green", "Blue"):
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        table = (np.arange(256, dtype="<u2") * 256).tobytes()
        setattr(dataset, f"{name}PaletteColorLookupTableData", table)
    return dataset


def _encapsulated(dataset: Dataset, value: bytes) -> Dataset:
    dataset.PixelData = value
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
    return dataset


def _coded(suffix: str, encapsulated: Callable[..., object] = encapsulate) -> Dataset:
    dataset = with_pixels(header(), "YBR_FULL_422", np.stack([FRAMES] * 3, axis=-1))
    pictures = [cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR) for frame in FRAMES]
    made = encapsulated([cv2.imencode(suffix, picture)[1].tobytes() for picture in pictures])
    if isinstance(made, tuple):
        made, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = made
    return _encapsulated(dataset, bytes(made))  # type: ignore[call-overload]


def _runs() -> Dataset:
    """One byte plane a frame, in literal runs of 128 bytes."""
    images = []
    for frame in FRAMES:
        data = frame.tobytes()
        runs = b"".join(b"\x7f" + data[at : at + 128] for at in range(0, len(data), 128))
        images.append(struct.pack("<16I", 1, 64, *[0] * 14) + runs)
    return _encapsulated(_plain(), encapsulate(images))


def _video() -> Dataset:
    film = Path(__file__).with_name("seeds") / "h264.mp4"
    return _encapsulated(_colour(), encapsulate([film.read_bytes()]))


def element(data: bytes, rng: np.random.Generator) -> bytes:
    """The value, length or representation of one element, found by its tag in either order."""
    tag = struct.pack(pick(("<HH", "<HH", "<HH", ">HH"), rng), *pick(ELEMENTS, rng))
    found = [at for at in range(len(data)) if data.startswith(tag, at)] if tag in data else []
    if not found:
        return data
    at, kind = pick(found, rng), int(rng.integers(8))
    if kind == 0:
        return poke(data, at + 4, pick(VRS, rng))
    if kind == 1:
        return poke(data, at + 6, boundary(data, 2, rng))
    if kind == 2:
        return poke(data, at + pick((4, 8), rng), boundary(data, 4, rng))
    if kind == 3:
        return data[:at] + data[at + 8 + int(rng.integers(12)) :]
    if kind == 4:
        return poke(data, at + 8, pick(DIGITS, rng))
    if kind == 5:
        return poke(data, at, struct.pack("<HH", *pick(ELEMENTS, rng)))
    return poke(data, at + pick((8, 12), rng), boundary(data, pick((2, 4), rng), rng))


def syntax_named(data: bytes, rng: np.random.Generator) -> bytes:
    """Another transfer syntax, as long as the one that is there (padding is zeros)."""
    at = data.find(b"1.2.840.10008.1.2", 300)
    if at < 0:
        return data
    size = int.from_bytes(data[at - 2 : at], "little")
    return poke(data, at, pick(SYNTAXES, rng)[:size].ljust(size, b"\0")) if size < 64 else data


def picture_size(data: bytes, rng: np.random.Generator) -> bytes:
    """Another height or width in the header of a JPEG or JPEG 2000 frame."""
    mark, places = pick(((b"\xff\xc0", (5, 7)), (b"\xff\x51", (8, 12, 16, 20, 24, 28))), rng)
    at = data.find(mark, int(rng.integers(len(data) + 1)))
    if at < 0:
        return data
    return poke(
        data,
        at + pick(places, rng),
        boundary(data, len(mark) * (2 if len(places) > 2 else 1), rng, ">"),
    )


FORMAT = Format(
    name="dicom",
    plant=plant,
    mutators=(element, element, element, element, syntax_named, picture_size),
    secrets=("zebra", "quagga", "okapi", "doe_jane", "19350607"),
)


@parts
def test_mutated(numbers: range) -> None:
    assert_harmless(FORMAT, numbers)


def test_a_length_that_lies_gives_no_name_away(tmp_path: Path) -> None:
    """Manufacturer is made to reach over the patient's name, which stands behind it."""
    file = _save(tmp_path, "plain", _plain(), uid.ExplicitVRLittleEndian)
    data = file.read_bytes()
    at, behind = data.index(b"\x08\x00\x70\x00LO"), data.index(b"Zebra^Quagga") + 12
    file.write_bytes(poke(data, at + 6, struct.pack("<H", behind - at - 8)))
    manifest, _ = read_loose(file)
    assert len(manifest) == 1
    assert manifest["vendor"].isna().all()


def test_a_syntax_that_is_none_is_not_quoted(tmp_path: Path) -> None:
    file = _save(tmp_path, "plain", _plain(), uid.ExplicitVRLittleEndian)
    data = file.read_bytes()
    file.write_bytes(data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.Zebra^Quagga"))
    with pytest.raises(UnreadableFileError) as caught:
        decode_clip(str(file), "d")
    assert "Zebra" not in str(caught.value)


@pytest.mark.parametrize("shape", [(4, 240, 60_000), (4, 10, 16_000), (4, 16_000, 3), (1, 1, 1)])
@pytest.mark.parametrize("lit", [0, 200])
def test_a_sector_is_found_in_frames_of_any_shape(shape: tuple[int, int, int], lit: int) -> None:
    """Discs as wide as the long side is long, on the whole frame, take hours."""
    frames = np.random.default_rng(0).integers(0, lit + 1, shape, dtype=np.uint8)
    for sector in (find_sector(frames), lit_area(frames)):
        assert sector is None or (sector.shape == shape[1:] and sector.any())
