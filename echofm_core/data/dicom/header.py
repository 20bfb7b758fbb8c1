"""What a DICOM header says about an ultrasound object: kind, timing, scanner, region."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import pydicom
from pydicom.dataset import Dataset

from echofm_core.data.dicom.sector import Box
from echofm_core.errors import UnreadableFileError

T = TypeVar("T")


class ObjectKind(StrEnum):
    """What an object shows; only ``CINE`` is trained on."""

    CINE = "cine"
    COLOUR = "colour_doppler"
    CONTRAST = "contrast"
    M_MODE = "m_mode"
    SPECTRAL = "spectral"
    STILL = "still"
    OTHER = "not_ultrasound"


logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # as for warnings, see read_dataset

#: Ultrasound (multi-frame) image storage, current and retired.
ULTRASOUND_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.3",
        "1.2.840.10008.5.1.4.1.1.3.1",
        "1.2.840.10008.5.1.4.1.1.6",
        "1.2.840.10008.5.1.4.1.1.6.1",
    }
)

# Region codes (PS3.3 C.8.5.5.1).
SPATIAL_2D, SPATIAL_M_MODE, SPATIAL_SPECTRAL = 1, 2, 3
DATA_COLOUR, DATA_PULSED, DATA_CONTINUOUS = 2, 3, 4

#: A region that passes the frame by more than this share was declared for another matrix size
#: (seen where cines were scaled down on export), and would cut the image.
OVERSHOOT = 0.05

#: The only elements a header pass reads: no name, no date, no identifier among them.
TAGS = [
    "SOPClassUID",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "SequenceOfUltrasoundRegions",
    "UltrasoundColorDataPresent",
    "ContrastBolusAgent",
    "Manufacturer",
    "ManufacturerModelName",
    "FrameTime",
    "FrameTimeVector",
    "CineRate",
    "RecommendedDisplayFrameRate",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """The parts of a header that are used.

    Attributes:
        kind: What it shows.
        n_frames: As declared; the truth is known after decoding.
        height, width: Pixels.
        fps: Frames a second, None where no element says.
        vendor, model: Scanner, None where absent.
        region: Two-dimensional image region, clipped to the frame; None where none is believable.
    """

    kind: ObjectKind
    n_frames: int
    height: int
    width: int
    fps: float | None
    vendor: str | None
    model: str | None
    region: Box | None


def read_header(file: Path) -> Header:
    """Header of a file; its pixels are not read.

    Raises:
        UnreadableFileError: Not DICOM, or damaged.
    """
    try:
        dataset = read_dataset(file, stop_before_pixels=True, specific_tags=TAGS)
        header = header_of(dataset)
    except OSError as error:
        raise UnreadableFileError(f"a DICOM file cannot be opened ({error.strerror}).") from None
    except Exception as error:  # a damaged header can raise anything, also on first access
        raise UnreadableFileError(
            f"a DICOM file has no readable header ({type(error).__name__})."
        ) from None
    if "SOPClassUID" not in dataset:
        raise UnreadableFileError("a DICOM file does not say what kind of object it is.")
    return header


def read_dataset(file: Path, **options: Any) -> Dataset:
    """``pydicom.dcmread`` without its warnings, which name files and so, maybe, patients."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(file, **options)


def header_of(dataset: Dataset) -> Header:
    """See :func:`read_header`."""
    regions = list(dataset.get("SequenceOfUltrasoundRegions") or [])
    height, width = _integer(dataset, "Rows"), _integer(dataset, "Columns")
    n_frames = _integer(dataset, "NumberOfFrames", default=1)
    return Header(
        kind=_kind(dataset, regions, n_frames),
        n_frames=n_frames,
        height=height,
        width=width,
        fps=frame_rate(dataset),
        vendor=_text(dataset, "Manufacturer"),
        model=_text(dataset, "ManufacturerModelName"),
        region=_region(regions, height, width),
    )


def frame_rate(dataset: Dataset) -> float | None:
    """Frames a second, by the first element that says so; never guessed.

    Order: FrameTime, mean of FrameTimeVector without its first entry, CineRate,
    RecommendedDisplayFrameRate.
    """
    period = _number(dataset.get("FrameTime"))
    if period is None:
        period = _mean_step(dataset.get("FrameTimeVector"))
    if period is not None:
        return 1000.0 / period
    return _number(dataset.get("CineRate")) or _number(dataset.get("RecommendedDisplayFrameRate"))


def _kind(dataset: Dataset, regions: list[Dataset], n_frames: int) -> ObjectKind:
    """Spectral and M-mode are told first: they come as stills and as sweeps of many frames."""
    if str(dataset.get("SOPClassUID", "")) not in ULTRASOUND_CLASSES:
        return ObjectKind.OTHER
    spatial = {_integer(region, "RegionSpatialFormat") for region in regions}
    data = {_integer(region, "RegionDataType") for region in regions}
    if SPATIAL_SPECTRAL in spatial or data & {DATA_PULSED, DATA_CONTINUOUS}:
        return ObjectKind.SPECTRAL
    if SPATIAL_M_MODE in spatial:
        return ObjectKind.M_MODE
    if n_frames < 2:
        return ObjectKind.STILL
    if DATA_COLOUR in data or _integer(dataset, "UltrasoundColorDataPresent") == 1:
        return ObjectKind.COLOUR
    if _text(dataset, "ContrastBolusAgent"):
        return ObjectKind.CONTRAST
    return ObjectKind.CINE


def _region(regions: Iterable[Dataset], height: int, width: int) -> Box | None:
    """Largest believable 2D region, clipped to the frame (declared corners are inclusive)."""
    corners = ("MinX0", "MinY0", "MaxX1", "MaxY1")
    boxes = []
    for region in regions:
        if _integer(region, "RegionSpatialFormat") != SPATIAL_2D:
            continue
        left, top, right, bottom = (
            _integer(region, f"RegionLocation{corner}") for corner in corners
        )
        if right >= width * (1 + OVERSHOOT) or bottom >= height * (1 + OVERSHOOT):
            continue
        box = (max(0, left), max(0, top), min(width, right + 1), min(height, bottom + 1))
        if box[2] > box[0] and box[3] > box[1]:
            boxes.append(box)
    return max(boxes, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]), default=None)


def _integer(dataset: Dataset, keyword: str, default: int = 0) -> int:
    return _converted(dataset.get(keyword), int, default)


def _text(dataset: Dataset, keyword: str) -> str | None:
    return str(dataset.get(keyword) or "").strip() or None


def _number(value: Any) -> float | None:
    """A finite number above zero, else None."""
    number = _converted(value, float, math.nan)
    return number if math.isfinite(number) and number > 0 else None


def _mean_step(vector: Any) -> float | None:
    steps = list(vector)[1:] if isinstance(vector, Iterable) else []
    numbers = [_converted(step, float, math.nan) for step in steps]
    return _number(sum(numbers) / len(numbers)) if numbers else None


def _converted(value: Any, kind: Callable[[Any], T], default: T) -> T:
    try:
        return default if value is None else kind(value)
    except (TypeError, ValueError, OverflowError):
        return default
