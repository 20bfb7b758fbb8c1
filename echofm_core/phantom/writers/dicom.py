"""Ultrasound DICOM objects as archives hold them, repeatable byte for byte."""

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)

from echofm_core.phantom.overlay import burn_in
from echofm_core.phantom.patients import Exam
from echofm_core.phantom.scanners import Scanner

#: Manufacturer, model and software of the two machines.
DEVICES = (
    ("GE Vingmed Ultrasound", "Vivid E95", "Vivid E95:201.61.0"),
    ("Philips Medical Systems", "EPIQ 7C", "EPIQ 7C_1.8.5"),
)
#: Bytes that begin like DICOM and are none.
NO_DICOM = b"\0" * 128 + b"DICM" + bytes(range(256))
#: RegionSpatialFormat and RegionDataType: 2D tissue, 2D colour flow, pulsed-wave spectrum.
TISSUE, COLOUR_FLOW, SPECTRUM = (1, 1), (1, 2), (3, 3)


def cine_header(scanner: Scanner, machine: int, frames: int, rate: float, identity: str) -> Dataset:
    """De-identified header of a grey cine, without pixels.

    Args:
        scanner: Geometry and frame rate.
        machine: Index into :data:`DEVICES`; the second times its frames one by one.
        frames: Number of frames.
        rate: Heart rate, beats a minute.
        identity: Equal text gives equal unique identifiers.
    """
    dataset = Dataset()
    dataset.SOPClassUID = UltrasoundMultiFrameImageStorage
    for level, name in (("SOP", "instance"), ("Study", "study"), ("Series", "series")):
        uid = generate_uid(entropy_srcs=[identity, name])
        setattr(dataset, f"{level}InstanceUID", uid)
    dataset.ImageType = ["DERIVED", "PRIMARY", "", "0001"]
    dataset.Modality = "US"
    names = DEVICES[machine]
    dataset.Manufacturer, dataset.ManufacturerModelName, dataset.SoftwareVersions = names
    dataset.PatientIdentityRemoved = "YES"
    dataset.NumberOfFrames = str(frames)
    dataset.Rows, dataset.Columns = scanner.height, scanner.width
    dataset.HeartRate = str(round(rate))
    dataset.UltrasoundColorDataPresent = 0
    dataset.SequenceOfUltrasoundRegions = [region(scanner, TISSUE)]
    step = f"{1000 / scanner.fps:.4f}"
    if machine == 1:
        dataset.FrameTimeVector = ["0", *[step] * (frames - 1)]
        dataset.FrameIncrementPointer = 0x00181065
    else:
        dataset.FrameTime = step
        dataset.FrameIncrementPointer = 0x00181063
    dataset.CineRate = dataset.RecommendedDisplayFrameRate = str(round(scanner.fps))
    return dataset


def exam_header(exam: Exam, machine: int, identity: str) -> Dataset:
    """Header of an exam's cine; see :func:`cine_header`."""
    return cine_header(exam.scanner, machine, len(exam.clip.frames), exam.heart.rate, identity)


def save_exam(path: Path, header: Dataset, exam: Exam, machine: int) -> None:
    """Write as many of the exam's frames as its header says, with the machine's overlay."""
    colour = burn_in(exam.clip.frames, exam.clip.phases, exam.scanner, machine)
    save_jpeg(path, header, colour[: int(header.NumberOfFrames)])


def identify(dataset: Dataset, number: int) -> None:
    """Write an invented person, visit and hospital into a header, as hospitals' own files have."""
    dataset.PatientIdentityRemoved = "NO"
    dataset.PatientName = f"Phantomschild{number:03d}^Adalbertine"
    dataset.PatientID = f"MRN-77{number:05d}"
    dataset.PatientBirthDate = f"1948{1 + number % 12:02d}{1 + number % 28:02d}"
    dataset.PatientSex, dataset.PatientAge = "FM"[number % 2], f"{60 + number % 35:03d}Y"
    dataset.AccessionNumber = f"ACC88{number:06d}"
    dataset.StudyDate, dataset.StudyTime = f"2031{1 + number % 12:02d}17", f"0914{number % 60:02d}"
    dataset.StudyID = f"STUDY-{number:05d}"
    dataset.InstitutionName = "St. Elsewhere Phantom Infirmary"
    dataset.ReferringPhysicianName = "Quacksalver^Theophrastus"
    dataset.OperatorsName = "Schallmeier^Kunigunde"
    dataset.StationName, dataset.DeviceSerialNumber = "ECHOROOM7", "SN-4711-0815"
    dataset.StudyDescription = "TTE phantom of a worried well"


def without_timing(dataset: Dataset) -> None:
    """Remove every element that says the frame rate."""
    names = ("FrameTime", "FrameTimeVector", "FrameIncrementPointer", "CineRate")
    for name in (*names, "RecommendedDisplayFrameRate"):
        dataset.pop(name, None)


def region(scanner: Scanner, kind: tuple[int, int]) -> Dataset:
    """The box around the sector, clipped to the frame."""
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType = kind
    item.RegionFlags = 0
    half = scanner.radius * scanner.squeeze * np.sin(scanner.half_angle)
    left, top = round(scanner.apex[0] - half), round(scanner.apex[1])
    item.RegionLocationMinX0, item.RegionLocationMinY0 = max(0, left), max(0, top)
    item.RegionLocationMaxX1 = min(scanner.width - 1, round(scanner.apex[0] + half))
    item.RegionLocationMaxY1 = min(scanner.height - 1, round(top + scanner.radius))
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3  # cm
    across, down = scanner.pixels_per_cm
    item.PhysicalDeltaX, item.PhysicalDeltaY = 1 / across, 1 / down
    return item


def as_still(dataset: Dataset) -> None:
    """Turn a cine's header into that of a single image."""
    without_timing(dataset)
    dataset.SOPClassUID = UltrasoundImageStorage
    dataset.NumberOfFrames = "1"


def save_jpeg(path: Path, dataset: Dataset, colour: NDArray[np.uint8]) -> None:
    """Encapsulate RGB frames (N, H, W, 3) as JPEG baseline, YBR_FULL_422."""
    streams = []
    for frame in colour:
        buffer = BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=90, subsampling="4:2:2")
        streams.append(buffer.getvalue())
    dataset.PixelData = encapsulate(streams)
    dataset["PixelData"].is_undefined_length = True
    dataset.LossyImageCompression = "01"
    dataset.PlanarConfiguration = 0
    _describe(dataset, 3, "YBR_FULL_422")
    _write(path, dataset, JPEGBaseline8Bit)


def save_grey(path: Path, dataset: Dataset, frames: NDArray[np.uint8]) -> None:
    """Uncompressed MONOCHROME2 from grey frames (N, H, W)."""
    dataset.PixelData = frames.tobytes()
    _describe(dataset, 1, "MONOCHROME2")
    _write(path, dataset, ExplicitVRLittleEndian)


def save_palette(path: Path, dataset: Dataset, frames: NDArray[np.uint8]) -> None:
    """RLE of indices into a grey palette that runs from white to black."""
    table = (np.arange(256, dtype=np.uint16) * 257)[::-1]
    for name in ("Red", "Green", "Blue"):
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(dataset, f"{name}PaletteColorLookupTableData", table.tobytes())
    dataset.PixelData = (255 - frames).tobytes()
    _describe(dataset, 1, "PALETTE COLOR")
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.compress(RLELossless, generate_instance_uid=False)
    _write(path, dataset, RLELossless)


def _describe(dataset: Dataset, samples: int, photometric: str) -> None:
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = samples, photometric
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0


def _write(path: Path, dataset: Dataset, syntax: UID) -> None:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta = meta
    dataset.save_as(path, enforce_file_format=True)
