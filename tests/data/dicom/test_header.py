from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.examples import get_path

from echofm_core.data.dicom.header import (
    Header,
    ObjectKind,
    frame_rate,
    header_of,
    pixel_size_of,
    read_header,
    timing,
)
from echofm_core.runtime.errors import UnreadableFileError
from tests.data.dicom.made import sample
from tests.data.files import STILL_CLASS, damage, header, region, speckle, write_jpeg_cine


def test_real_cine() -> None:
    """Values as a DICOM viewer shows them; its region was declared for 640 x 480."""
    found = read_header(Path(get_path("ybr_color")))
    assert found.kind is ObjectKind.CINE
    assert (found.n_frames, found.height, found.width) == (30, 240, 320)
    assert found.fps == pytest.approx(30.0, abs=0.01)
    assert (found.vendor, found.model) == ("SonoSite, Inc.", "Turbo")
    assert found.region is None


def test_the_size_of_a_pixel_is_that_of_the_image_region() -> None:
    """The larger region is the image; a small one beside it has other deltas."""
    item, strip = region(), region(box=(0, 0, 63, 20))
    for each, delta in ((item, 0.2), (strip, 0.01)):
        each.PhysicalUnitsXDirection = each.PhysicalUnitsYDirection = 3
        each.PhysicalDeltaX, each.PhysicalDeltaY = delta, -2 * delta
    dataset = header(regions=[strip, item])
    assert pixel_size_of(dataset, 64, 64) == (0.2, 0.4)
    assert pixel_size_of(dataset, 32, 32) is None, "the frames were scaled, the header was not"
    item.PhysicalUnitsYDirection = 4  # seconds
    assert pixel_size_of(dataset, 64, 64) is None
    item.PhysicalUnitsYDirection = 3
    del item.PhysicalDeltaX
    assert pixel_size_of(dataset, 64, 64) is None
    assert pixel_size_of(header(), 64, 64) is None


def test_depth_is_that_of_the_scan_else_that_of_the_pixels() -> None:
    """160 mm are 16 cm; 64 rows of 0.2 cm are 12.8 cm; 900 mm show no heart."""
    item = region()
    assert header_of(header(regions=[item], DepthOfScanField=160)).depth_cm == 16.0
    assert header_of(header(regions=[item], DepthOfScanField=900)).depth_cm is None
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
    item.PhysicalDeltaX = item.PhysicalDeltaY = 0.2
    assert header_of(header(regions=[item])).depth_cm == pytest.approx(12.8)
    assert header_of(header()).depth_cm is None


def test_the_frequency_is_that_of_the_image_region() -> None:
    """In kHz; the strip beside the image has another, and 0 is none."""
    item, strip = region(), region(box=(0, 0, 63, 20))
    item.TransducerFrequency, strip.TransducerFrequency = 3500, 2000
    assert header_of(header(regions=[strip, item])).frequency_mhz == 3.5
    item.TransducerFrequency = 0
    assert header_of(header(regions=[strip, item])).frequency_mhz is None


def test_a_region_of_a_larger_matrix_tells_no_size() -> None:
    """The real cine's region was declared for 640 x 480, its pictures are 320 x 240."""
    dataset = dcmread(get_path("ybr_color"))
    assert pixel_size_of(dataset, 240, 320) is None


@pytest.mark.parametrize("name", ["ZEBRAFISH^QUINCY", "MRN7788991", "19470131", "E95 770031 ab"])
def test_a_person_in_the_scanners_place_is_not_kept(name: str) -> None:
    found = header_of(header(Manufacturer=name, ManufacturerModelName=name))
    assert (found.vendor, found.model) == (None, None)


@pytest.mark.parametrize("name", ["GE Vingmed Ultrasound", "ACUSON SC2000", "EPIQ 7C", "SSD-5500"])
def test_a_scanner_is_kept(name: str) -> None:
    found = header_of(header(Manufacturer=name, ManufacturerModelName=name))
    assert (found.vendor, found.model) == (name, name)


#: Frame Increment Pointer to Frame Time, and to Frame Time Vector.
POINTS = ({"FrameIncrementPointer": 0x00181063}, {"FrameIncrementPointer": 0x00181065})


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"regions": [region()]}, ObjectKind.CINE),
        ({}, ObjectKind.CINE),
        ({"regions": []}, ObjectKind.CINE),
        ({"NumberOfFrames": None, "SOPClassUID": STILL_CLASS}, ObjectKind.STILL),
        ({"regions": [region(), region(3, 3)]}, ObjectKind.SPECTRAL),
        ({"regions": [region(3, 4)], "NumberOfFrames": 1}, ObjectKind.SPECTRAL),
        ({"regions": [region(), region(2, 1)]}, ObjectKind.M_MODE),
        ({"regions": [region(1, 2)]}, ObjectKind.CINE),
        ({"UltrasoundColorDataPresent": 1}, ObjectKind.CINE),
        ({"ImageType": ["DERIVED", "PRIMARY", "", "0011"]}, ObjectKind.CINE),
        ({"ImageType": ["DERIVED", "PRIMARY", "", "0101"]}, ObjectKind.CINE),  # power mode
        ({"ImageType": ["DERIVED", "PRIMARY", "", "0001"]}, ObjectKind.CINE),
        ({"ImageType": ["DERIVED", "PRIMARY", "", "EPICARDIAL"]}, ObjectKind.CINE),
        ({"ImageType": ["DERIVED", "PRIMARY", "", "0009"]}, ObjectKind.SPECTRAL),
        ({"ImageType": ["DERIVED", "PRIMARY", "", "0002"]}, ObjectKind.M_MODE),
        ({"ImageType": ["DERIVED", "PRIMARY", "", "000C"]}, ObjectKind.SPECTRAL),  # CW and PW
        ({"ImageType": ["DERIVED", "PRIMARY", "", "000c"]}, ObjectKind.SPECTRAL),
        ({"ImageType": ["DERIVED", "PRIMARY", "", "00A1"]}, ObjectKind.M_MODE),
        ({"ImageType": ["DERIVED", "PRIMARY", "", "00000C"]}, ObjectKind.CINE),
        ({"ImageType": ["", "", "", "0009"], "regions": [region()]}, ObjectKind.CINE),
        ({"ImageType": "0011"}, ObjectKind.CINE),
        ({"ContrastBolusAgent": "DEFINITY"}, ObjectKind.CONTRAST),
        ({"ContrastBolusAgent": "None"}, ObjectKind.CINE),
        ({"ContrastBolusAgent": "", "UltrasoundColorDataPresent": 0}, ObjectKind.CINE),
        ({"NumberOfFrames": None}, ObjectKind.CINE),  # the class says that there are several
        ({"NumberOfFrames": 0}, ObjectKind.CINE),
        ({"NumberOfFrames": 1}, ObjectKind.STILL),
        ({"regions": [region(), region(4, 10)]}, ObjectKind.CINE),  # an ECG strip beside it
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, ObjectKind.OTHER),  # CT
    ],
)
def test_kinds(values: dict[str, object], kind: ObjectKind) -> None:
    assert header_of(header(**values)).kind is kind


@pytest.mark.parametrize(
    ("values", "fps"),
    [
        ({"FrameTime": "40", "CineRate": "10"}, 25.0),
        ({"FrameTime": "0", "FrameTimeVector": ["0", "20", "20", "20"]}, 50.0),
        ({"FrameTimeVector": ["0", "10", "30"], "CineRate": "10"}, 50.0),
        ({"CineRate": "21", "RecommendedDisplayFrameRate": "30"}, 21.0),
        ({"RecommendedDisplayFrameRate": "30"}, 30.0),
        ({"FrameTimeVector": ["0"], "CineRate": "21"}, 21.0),
        ({}, None),
        ({"FrameTime": "0", "CineRate": "0"}, None),
        ({"FrameTime": "-40", "CineRate": "21"}, 21.0),
        ({"FrameTime": "1e9", "CineRate": "21"}, 21.0),  # a frame in eleven days
        ({"FrameTime": "0.033", "CineRate": "21"}, 21.0),  # seconds, where milliseconds are due
        ({"FrameTimeVector": ["0", "-5", "-5"], "CineRate": "21"}, 21.0),
        ({"CineRate": "1000000000", "RecommendedDisplayFrameRate": "30"}, 30.0),
        ({"FrameTime": "1000", "FrameTimeVector": ["0", "25", "25"], **POINTS[1]}, 40.0),
        ({"FrameTime": "1000", "FrameTimeVector": ["0", "25", "25"], **POINTS[0]}, 1.0),
        ({"FrameTime": "20", "FrameTimeVector": ["0", "0", "0"], **POINTS[1]}, 50.0),
        ({"FrameTimeVector": ["0", "25", "25"], **POINTS[0]}, 40.0),
        ({"FrameTime": "20", "FrameIncrementPointer": [0x00181065, 0x00181063]}, 50.0),
        ({"CineRate": "-3", "RecommendedDisplayFrameRate": "0"}, None),
    ],
)
def test_timing_order(values: dict[str, object], fps: float | None) -> None:
    assert header_of(header(**values)).fps == (None if fps is None else pytest.approx(fps))


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((4, 6, 40, 50), (4, 6, 41, 51)),
        ((4, 6, 64, 65), (4, 6, 64, 64)),  # two pixels too far: clipped
        ((4, 6, 127, 127), None),  # made for twice the size: not believed
        ((30, 30, 30, 10), None),  # upside down
    ],
)
def test_regions_are_clipped(box: tuple[int, ...], expected: tuple[int, ...] | None) -> None:
    assert header_of(header(regions=[region(box=box)])).region == expected


@pytest.mark.parametrize(
    "box",
    [
        (2**31 - 1, 0, 2**31 - 1, 63),
        (0, 0, 2**31 - 1, 2**31 - 1),
        (-1000, -1000, -5, -5),
        (10, 10, 10, 10),
        (0, 0, 63, 3),  # too flat for a heart
    ],
)
def test_regions_that_cannot_be(box: tuple[int, ...]) -> None:
    assert header_of(header(regions=[region(box=box)])).region is None


def test_a_region_without_a_corner_is_none() -> None:
    broken = region(box=(4, 6, 40, 50))
    del broken.RegionLocationMaxY1
    assert header_of(header(regions=[broken])).region is None
    assert header_of(header(regions=[Dataset()])).region is None


def test_corners_before_the_frame_are_moved_into_it() -> None:
    assert header_of(header(regions=[region(box=(-9, -9, 40, 50))])).region == (0, 0, 41, 51)


def test_the_largest_image_region_counts() -> None:
    regions = [region(box=(0, 0, 9, 9)), region(4, 10), region(box=(10, 10, 60, 60))]
    assert header_of(header(regions=regions)).region == (10, 10, 61, 61)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=5))
def test_any_timing_gives_a_rate_or_none(values: list[float]) -> None:
    class Fake(dict[str, object]):
        pass

    elements = Fake(FrameTime=values[0] if values else None, FrameTimeVector=values)
    rate = frame_rate(elements)  # type: ignore[arg-type]
    assert rate is None or (math.isfinite(rate) and rate > 0)


def rewritten(tmp_path: Path, element: tuple[int, int], vr: bytes, value: bytes) -> Header:
    """A header in which one element has another representation and value than the standard's."""
    path = write_jpeg_cine(tmp_path / "a.dcm", speckle(5), FrameTime="20", CineRate="7")
    data = path.read_bytes()
    tag = struct.pack("<HH", *element)
    at = data.index(tag, 300)
    (length,) = struct.unpack_from("<H", data, at + 6)
    value += b" " * (len(value) % 2)
    new = tag + vr + struct.pack("<H", len(value)) + value
    path.write_bytes(data[:at] + new + data[at + 8 + length :])
    return read_header(path)


def test_elements_of_another_kind_are_as_if_missing(tmp_path: Path) -> None:
    """Text where a number is due, numbers where text is due, and text in place of a sequence."""
    frame_time, frames = (0x0018, 0x1063), (0x0028, 0x0008)
    for value in (b"forty", b"NaN", b"inf", b"1e999", b"20\\30", b"\xff\xfe\xfd\xfc"):
        assert rewritten(tmp_path, frame_time, b"DS", value).fps == pytest.approx(7)
    assert rewritten(tmp_path, frame_time, b"FD", b"\0\0\0\0\0\0\xf8\x7f").fps == pytest.approx(7)
    for value in (b"many", b"1A", b"-7", b"99999999999", b"2\\3"):
        found = rewritten(tmp_path, frames, b"IS", value)
        assert (found.n_frames, found.kind) == (None, ObjectKind.CINE)
    found = rewritten(tmp_path, (0x0028, 0x0010), b"LO", b"tall")
    assert (found.height, found.width) == (0, 64)


def test_text_in_place_of_the_regions() -> None:
    dataset = header()
    dataset.add(DataElement(0x00186011, "LO", "(0,0)-(63,63)"))
    assert header_of(dataset).region is None
    assert header_of(dataset).kind is ObjectKind.CINE


@pytest.mark.parametrize(
    ("name", "kind", "frames", "fps"),
    [
        ("examples_ybr_color.dcm", ObjectKind.CINE, 30, 30.0),
        ("color3d_jpeg_baseline.dcm", ObjectKind.CINE, 120, 30.0),
        ("JPGLosslessP14SV1_1s_1f_8b.dcm", ObjectKind.STILL, None, None),
    ],
)
def test_real_echoes(name: str, kind: ObjectKind, frames: int | None, fps: float | None) -> None:
    found = read_header(sample(name))
    assert (found.kind, found.n_frames) == (kind, frames)
    assert found.fps == (None if fps is None else pytest.approx(fps, abs=0.01))


@pytest.mark.parametrize("how", ["stub", "empty", "junk"])
def test_damaged_headers(tmp_path: Path, how: str) -> None:
    good = write_jpeg_cine(tmp_path / "p10000032.dcm", speckle(5))
    with pytest.raises(UnreadableFileError) as caught:
        read_header(damage(good, tmp_path)[how])
    assert "10000032" not in str(caught.value)


def test_uneven_times_of_a_vector_are_kept_where_there_are_as_many_as_frames() -> None:
    values = {"FrameTimeVector": ["0", *["20", "60"] * 5, "20"], **POINTS[1]}
    fps, times = timing(header(**values), 12)
    assert fps == pytest.approx(11 / 0.42)
    assert times is not None
    np.testing.assert_allclose(times, np.cumsum([0, *[0.02, 0.06] * 5, 0.02]))
    assert timing(header(**values), 11) == (pytest.approx(11 / 0.42), None)
    assert timing(header(**{**values, "FrameTime": "40", **POINTS[0]}), 12)[1] is None
