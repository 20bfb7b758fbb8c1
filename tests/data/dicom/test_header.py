from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.examples import get_path

from echofm_core.data.dicom.header import ObjectKind, frame_rate, header_of, read_header
from echofm_core.errors import UnreadableFileError
from tests.data.files import STILL_CLASS, damage, header, region, speckle, write_jpeg_cine


def test_real_cine() -> None:
    """Values as a DICOM viewer shows them; its region was declared for 640 x 480."""
    found = read_header(Path(get_path("ybr_color")))
    assert found.kind is ObjectKind.CINE
    assert (found.n_frames, found.height, found.width) == (30, 240, 320)
    assert found.fps == pytest.approx(30.0, abs=0.01)
    assert (found.vendor, found.model) == ("SonoSite, Inc.", "Turbo")
    assert found.region is None


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
        ({"regions": [region(1, 2)]}, ObjectKind.COLOUR),
        ({"UltrasoundColorDataPresent": 1}, ObjectKind.COLOUR),
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


@pytest.mark.parametrize("how", ["stub", "empty", "junk"])
def test_damaged_headers(tmp_path: Path, how: str) -> None:
    good = write_jpeg_cine(tmp_path / "p10000032.dcm", speckle(5))
    with pytest.raises(UnreadableFileError) as caught:
        read_header(damage(good, tmp_path)[how])
    assert "10000032" not in str(caught.value)
