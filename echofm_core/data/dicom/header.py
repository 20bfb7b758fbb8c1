"""What a DICOM header says about an ultrasound object: kind, timing, scanner, region."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from echofm_core.data.cine import timing_of
from echofm_core.data.dicom.part10 import header_elements
from echofm_core.data.dicom.sector import Box
from echofm_core.data.limits import LONGEST as DEEPEST
from echofm_core.data.limits import SHORTEST, PixelSize, believable_rate, believable_size
from echofm_core.runtime.errors import UnreadableFileError


class ObjectKind(StrEnum):
    """What an object shows; only ``CINE`` is trained on."""

    CINE = "cine"
    CONTRAST = "contrast"
    M_MODE = "m_mode"
    SPECTRAL = "spectral"
    STILL = "still"
    OTHER = "not_ultrasound"


#: Ultrasound image storage, current and retired: of one frame, and of many.
STILL_CLASSES = frozenset({"1.2.840.10008.5.1.4.1.1.6", "1.2.840.10008.5.1.4.1.1.6.1"})
CINE_CLASSES = frozenset({"1.2.840.10008.5.1.4.1.1.3", "1.2.840.10008.5.1.4.1.1.3.1"})

# Region codes (PS3.3 C.8.5.5.1).
SPATIAL_2D, SPATIAL_M_MODE, SPATIAL_SPECTRAL = 1, 2, 3
CENTIMETRES = 3
DATA_PULSED, DATA_CONTINUOUS = 3, 4
# Bits of the fourth value of Image Type, four hexadecimal digits (PS3.3 C.8.5.6.1.1).
IMAGE_M_MODE, IMAGE_SPECTRAL = 0x0022, 0x000C

_FOUR_DIGITS = re.compile(r"[0-9A-Fa-f]{4}")
#: What Frame Increment Pointer says where times are those of Frame Time Vector.
FRAME_TIME_VECTOR = 0x00181065

#: A region that passes the frame by more than this share was declared for another matrix size
#: (seen where cines were scaled down on export), and would cut the image.
OVERSHOOT = 0.05
#: Sides of a region below this share of the frame's show no heart.
SMALLEST = 0.1
#: A corner of a region that is missing: far outside of any frame, so that it is not believed.
NOWHERE = 2**31
#: A frame takes more bytes than this in any coding: how many there may be in a file.
FRAME_BYTES = 64
#: MHz of a transducer that can show a heart.
LOWEST, HIGHEST = 0.5, 30.0
#: Characters of a name of a scanner, by the standard.
LONGEST_TEXT = 64
#: In a scanner's place, this is a person: what parts a name by the standard, or a long number.
_OF_A_PERSON = re.compile(r"\^|\d{6}")
#: Written into the contrast element where there was no contrast.
NO_CONTRAST = frozenset({"", "no", "none", "n", "0", "na", "n/a", "without"})

#: The only elements a header pass reads: no name, no date, no identifier among them.
TAGS = [
    "SOPClassUID",
    "ImageType",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "SequenceOfUltrasoundRegions",
    "ContrastBolusAgent",
    "Manufacturer",
    "ManufacturerModelName",
    "FrameIncrementPointer",
    "FrameTime",
    "FrameTimeVector",
    "CineRate",
    "RecommendedDisplayFrameRate",
    "DepthOfScanField",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """The parts of a header that are used.

    Attributes:
        kind: What it shows; whether a cine shows colour flow is for its pixels to say.
        n_frames: As declared, None where that is missing or cannot be; the truth is known after
            decoding.
        height, width: Pixels.
        fps: Frames a second, None where no element says.
        vendor, model: Scanner, None where absent.
        depth_cm: From the transducer to the bottom of the picture; None where nothing says.
        frequency_mhz: Of the transducer, in the image region; None where nothing says.
        region: Two-dimensional image region, clipped to the frame; None where none is believable.
    """

    kind: ObjectKind
    n_frames: int | None
    height: int
    width: int
    fps: float | None
    vendor: str | None
    model: str | None
    depth_cm: float | None
    frequency_mhz: float | None
    region: Box | None


def read_header(file: Path) -> Header:
    """Header of a file; its pixels are not read.

    Raises:
        UnreadableFileError: Not DICOM, or damaged.
    """
    with header_elements(file, TAGS) as dataset:
        header = header_of(dataset)
        if (header.n_frames or 0) * FRAME_BYTES > file.stat().st_size:
            header = replace(header, n_frames=None)
        if "SOPClassUID" not in dataset:
            raise UnreadableFileError("a DICOM file does not say what kind of object it is.")
    return header


def header_of(dataset: Dataset) -> Header:
    """Judge a header.

    Spectral and M-mode come first, by the regions, and by Image Type where there are none: they
    are stored as stills and as sweeps of many frames. Then the stills, then what was recorded with
    a contrast agent. What is left is a cine. What a header says of colour is not read: scanners
    that can do colour write it for grey images too, and others leave it out; the pixels decide
    (:func:`echofm_core.data.dicom.frames.shows_colour`).
    """
    height, width = _integer(dataset, "Rows"), _integer(dataset, "Columns")
    n_frames = _integer(dataset, "NumberOfFrames")
    return Header(
        kind=_kind(dataset, n_frames),
        n_frames=n_frames if n_frames > 0 else None,
        height=height,
        width=width,
        fps=frame_rate(dataset),
        vendor=_scanner(dataset, "Manufacturer"),
        model=_scanner(dataset, "ManufacturerModelName"),
        depth_cm=depth_of(dataset, height, width),
        frequency_mhz=frequency_of(dataset, height, width),
        region=region_of(dataset, height, width),
    )


def region_of(dataset: Dataset, height: int, width: int) -> Box | None:
    """The declared image region in a frame of this size, as in :class:`Header`."""
    return _largest(dataset, height, width)[0]


def region_in_half(dataset: Dataset, height: int, width: int) -> Box | None:
    """The same in a frame, or in a picture of it that is half as high and wide."""
    declared = _integer(dataset, "Rows"), _integer(dataset, "Columns")
    if (height, width) != ((declared[0] + 1) // 2, (declared[1] + 1) // 2):
        return region_of(dataset, height, width)
    if (box := region_of(dataset, *declared)) is None:
        return None
    left, top, right, bottom = box
    return left // 2, top // 2, (right + 1) // 2, (bottom + 1) // 2


def pixel_size_of(dataset: Dataset, height: int, width: int) -> PixelSize | None:
    """Physical deltas of that region, where they are in cm and the frame is as the header has it.

    A cine that was scaled down on export often keeps the deltas of the larger one; its Rows and
    Columns, or its region, then tell.
    """
    _, region = _largest(dataset, height, width)
    declared = (_integer(dataset, "Rows"), _integer(dataset, "Columns"))
    if region is None or (height, width) != declared:
        return None
    if {_integer(region, f"PhysicalUnits{axis}Direction") for axis in "XY"} != {CENTIMETRES}:
        return None
    across, down = (_number(_get(region, f"PhysicalDelta{axis}")) for axis in "XY")
    return believable_size(across, down, height, width)


def depth_of(dataset: Dataset, height: int, width: int) -> float | None:
    """Depth of the picture in cm: Depth of Scan Field (0018,5050, in mm), else its pixels' size."""
    depth = _number(_get(dataset, "DepthOfScanField")) / 10
    if not SHORTEST <= depth <= DEEPEST:
        box, size = region_of(dataset, height, width), pixel_size_of(dataset, height, width)
        depth = (box[3] - box[1]) * size.down if box and size else math.nan
    return depth if SHORTEST <= depth <= DEEPEST else None


def frequency_of(dataset: Dataset, height: int, width: int) -> float | None:
    """Transducer Frequency (0018,6030, in kHz) of the image region, in MHz."""
    _, region = _largest(dataset, height, width)
    frequency = math.nan if region is None else _number(_get(region, "TransducerFrequency")) / 1000
    return frequency if LOWEST <= frequency <= HIGHEST else None


def frame_rate(dataset: Dataset) -> float | None:
    """Frames a second, by the first element that says so and can be true; never guessed.

    Order: FrameTime, mean of FrameTimeVector without its first entry, CineRate,
    RecommendedDisplayFrameRate; the vector first where FrameIncrementPointer names it, as the
    other element is then a leftover.
    """
    steps = [_number(step) for step in _values(dataset, "FrameTimeVector")[1:]]
    periods = [_number(_get(dataset, "FrameTime")), sum(steps) / len(steps) if steps else 0.0]
    if _points_at_vector(dataset):
        periods.reverse()
    rates = [1000.0 / period for period in periods if period > 0]
    rates += [_number(_get(dataset, name)) for name in ("CineRate", "RecommendedDisplayFrameRate")]
    return next((rate for rate in rates if believable_rate(rate) is not None), None)


def timing(dataset: Dataset, length: int) -> tuple[float | None, NDArray[np.float64] | None]:
    """Frames a second, and the times of ``length`` frames where a vector has them, and uneven."""
    fps = frame_rate(dataset)
    steps = [_number(step) for step in _values(dataset, "FrameTimeVector")]
    used = _points_at_vector(dataset) or "FrameTime" not in dataset
    if not used or len(steps) != length:
        return fps, None
    return timing_of(np.cumsum([0.0, *steps[1:]]) / 1000, fps)


def _points_at_vector(dataset: Dataset) -> bool:
    name = "FrameIncrementPointer"
    return FRAME_TIME_VECTOR in [_get(dataset, name), *_values(dataset, name)]


def _kind(dataset: Dataset, n_frames: int) -> ObjectKind:
    sop_class = _text(dataset, "SOPClassUID") or ""
    if sop_class not in STILL_CLASSES | CINE_CLASSES:
        return ObjectKind.OTHER
    regions = _regions(dataset)
    spatial = {_integer(region, "RegionSpatialFormat") for region in regions}
    data = {_integer(region, "RegionDataType") for region in regions}
    code = "".join(str(value).strip() for value in _values(dataset, "ImageType")[3:4])
    modes = int(code, 16) if _FOUR_DIGITS.fullmatch(code) else 0
    if SPATIAL_SPECTRAL in spatial or data & {DATA_PULSED, DATA_CONTINUOUS}:
        return ObjectKind.SPECTRAL
    if SPATIAL_M_MODE in spatial:
        return ObjectKind.M_MODE
    if not regions and modes & (IMAGE_SPECTRAL | IMAGE_M_MODE):
        return ObjectKind.SPECTRAL if modes & IMAGE_SPECTRAL else ObjectKind.M_MODE
    if n_frames == 1 or (n_frames < 1 and sop_class in STILL_CLASSES):
        return ObjectKind.STILL
    if (_text(dataset, "ContrastBolusAgent") or "").lower() not in NO_CONTRAST:
        return ObjectKind.CONTRAST
    return ObjectKind.CINE


def _regions(dataset: Dataset) -> list[Dataset]:
    items = _values(dataset, "SequenceOfUltrasoundRegions")
    return [item for item in items if isinstance(item, Dataset)]


def _largest(dataset: Dataset, height: int, width: int) -> tuple[Box | None, Dataset | None]:
    """Largest believable 2D region: its box, clipped to the frame, and itself."""
    found: list[tuple[int, Box, Dataset]] = []
    for region in _regions(dataset):
        left, top, right, bottom = (
            _integer(region, f"RegionLocation{corner}", NOWHERE)
            for corner in ("MinX0", "MinY0", "MaxX1", "MaxY1")
        )
        if right >= width * (1 + OVERSHOOT) or bottom >= height * (1 + OVERSHOOT):
            continue
        # Declared corners are inclusive.
        box = (max(0, left), max(0, top), min(width, right + 1), min(height, bottom + 1))
        across, down = box[2] - box[0], box[3] - box[1]
        large = across > SMALLEST * width and down > SMALLEST * height
        if large and _integer(region, "RegionSpatialFormat") == SPATIAL_2D:
            found.append((across * down, box, region))
    largest = max(found, key=itemgetter(0), default=None)
    return largest[1:] if largest else (None, None)


def _get(dataset: Dataset, keyword: str) -> Any:
    """Value of an element, None where it is missing or cannot be read as its kind."""
    try:
        return dataset.get(keyword)
    except Exception:  # converting damaged bytes can raise anything
        return None


def _values(dataset: Dataset, keyword: str) -> list[Any]:
    """Values of an element of several, none where it has another form."""
    value = _get(dataset, keyword)
    several = isinstance(value, Iterable) and not isinstance(value, str | bytes)
    return list(value) if several else []


def _integer(dataset: Dataset, keyword: str, missing: int = 0) -> int:
    number = _number(_get(dataset, keyword))
    return int(number) if math.isfinite(number) else missing


def _number(value: Any) -> float:
    """NaN where it is no number."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _scanner(dataset: Dataset, keyword: str) -> str | None:
    """Name of a scanner, None where somebody wrote a patient's name or number in its place."""
    text = _text(dataset, keyword)
    return None if text is None or _OF_A_PERSON.search(text) else text


def _text(dataset: Dataset, keyword: str) -> str | None:
    """Text of one line, None where the element holds anything else.

    Where the length of an element lies, its value runs on into the next: a patient's name, maybe.
    """
    value = _get(dataset, keyword)
    text = value.strip() if isinstance(value, str) else ""
    return text if text.isprintable() and 0 < len(text) <= LONGEST_TEXT else None
