"""MIMIC-IV-ECHO 1.0 as downloaded: DICOM cines of two machines, no labels, one real cine."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless, generate_uid

from echofm_core.console import Meter
from echofm_core.phantom.anatomy import View
from echofm_core.phantom.patients import Institution, examine, new_heart, write_table
from echofm_core.phantom.scanners import MIMIC, Scanner

EF_MEAN, EF_SD = 54.0, 13.0
FRAMES = 48
DEVICES = (("GE Vingmed Ultrasound", "Vivid E95"), ("Philips Medical Systems", "EPIQ 7C"))
MULTI_FRAME, STILL = "1.2.840.10008.5.1.4.1.1.3.1", "1.2.840.10008.5.1.4.1.1.6.1"
#: Patient and study of the real cine, outside the phantoms' numbers.
REAL_PATIENT, REAL_STUDY = 19999999, 99999999


def write(folder: Path, patients: int, seed: int, errors: bool, meter: Meter | None) -> Path:
    """Write ``mimic-iv-echo/1.0`` with its truth and planted errors; returns the root."""
    root = folder / "mimic-iv-echo" / "1.0"
    place = Institution("mimic_iv_echo", seed)
    records: list[dict[str, object]] = []
    views = (View.A4C, View.PLAX, View.PSAX, View.A2C)
    for patient in range(patients):
        rng = place.rng(patient, "patient")
        heart = new_heart(rng, EF_MEAN, EF_SD)
        machine = patient % 2
        for number in range(2):
            view = views[(patient + number) % len(views)]
            clip, _ = examine(heart, view, MIMIC[machine], FRAMES, rng)
            path = _path(root, records, 10000000 + patient, 90000000 + patient, number + 1)
            colour = _overlay(clip.frames, MIMIC[machine])
            _save(path, _header(MIMIC[machine], machine, seed, path.name, len(colour)), colour)
            place.truth.append({"clip": path.stem, "view": view.value, "real": False})
        if meter:
            meter.advance()
    _add_real_cine(root, records, place)
    if errors and patients:
        _plant(root, records, place, seed)
    write_table(root / "echo-record-list.csv", records)
    _write_studies(root, records)
    return place.close(root)


def _path(
    root: Path, records: list[dict[str, object]], subject: int, study: int, number: int
) -> Path:
    """Path of a new file, entered in the record list."""
    relative = f"files/p{str(subject)[:2]}/p{subject}/s{study}/{study}_{number:04d}.dcm"
    records.append(
        {
            "subject_id": subject,
            "study_id": study,
            "acquisition_datetime": f"21{subject % 80 + 10}-03-0{number % 9 + 1} 10:00:00",
            "dicom_filepath": relative,
        }
    )
    path = root / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write_studies(root: Path, records: list[dict[str, object]]) -> None:
    studies = {(row["subject_id"], row["study_id"]): row for row in records}
    rows = [
        {"subject_id": subject, "study_id": study, "study_datetime": row["acquisition_datetime"]}
        for (subject, study), row in studies.items()
    ]
    write_table(root / "echo-study-list.csv", rows)


def _overlay(frames: NDArray[np.uint8], scanner: Scanner) -> NDArray[np.uint8]:
    """Burn in static text and a running green ECG outside the sector: (N, H, W, 3)."""
    colour = np.repeat(frames[..., None], 3, axis=3)
    height, width = frames.shape[1:]
    time = np.arange(width // 2)
    beat = np.exp(-((((time % 40) - 20) / 1.5) ** 2)) * 14
    for number, frame in enumerate(colour):
        frame = np.ascontiguousarray(frame)
        cv2.putText(frame, "PHANTOM", (4, 14), cv2.FONT_HERSHEY_PLAIN, 0.9, (210,) * 3, 1)
        cv2.putText(frame, "Adult Echo", (4, 28), cv2.FONT_HERSHEY_PLAIN, 0.7, (160,) * 3, 1)
        until = 2 + number * (len(time) - 2) // len(colour)
        line = np.stack([4 + time[:until], height - 8 - beat[:until]], axis=1).astype(np.int32)
        cv2.polylines(frame, [line], False, (40, 220, 60), 1)
        colour[number] = frame
    return colour


def _header(scanner: Scanner, machine: int, seed: int, name: str, frames: int) -> Dataset:
    """The elements of a de-identified Vivid E95 cine."""
    dataset = Dataset()
    dataset.SOPClassUID = MULTI_FRAME
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=[f"{seed}", name])
    dataset.Modality = "US"
    dataset.Manufacturer, dataset.ManufacturerModelName = DEVICES[machine]
    dataset.PatientIdentityRemoved = "YES"
    dataset.FrameTime = f"{1000 / scanner.fps:.4f}"
    dataset.CineRate = str(round(scanner.fps))
    dataset.NumberOfFrames = str(frames)
    dataset.Rows, dataset.Columns = scanner.height, scanner.width
    dataset.UltrasoundColorDataPresent = 0
    dataset.SequenceOfUltrasoundRegions = Sequence([_region(scanner, 1, 1)])
    return dataset


def _region(scanner: Scanner, spatial: int, content: int) -> Dataset:
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = spatial, content, 0
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 0, 0
    region.RegionLocationMaxX1 = scanner.width - 1
    region.RegionLocationMaxY1 = scanner.height - 1
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX = region.PhysicalDeltaY = 1 / scanner.pixels_per_cm
    return region


def _save(path: Path, dataset: Dataset, colour: NDArray[np.uint8]) -> None:
    """Encapsulate (N, H, W, 3) as JPEG baseline, YBR_FULL_422."""
    streams = []
    for frame in colour:
        buffer = BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=90, subsampling="4:2:2")
        streams.append(buffer.getvalue())
    dataset.PixelData = encapsulate(streams)
    dataset["PixelData"].is_undefined_length = True
    _pixels(dataset, 3, "YBR_FULL_422")
    _write(path, dataset, JPEGBaseline8Bit)


def _pixels(dataset: Dataset, samples: int, photometric: str) -> None:
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = samples, photometric
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    if samples > 1:
        dataset.PlanarConfiguration = 0


def _write(path: Path, dataset: Dataset, syntax: Any) -> None:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(path, enforce_file_format=True)


def _add_real_cine(root: Path, records: list[dict[str, object]], place: Institution) -> None:
    """The REAL apical cine of the pydicom package (MIT): one more unlabelled clip."""
    source = Path(str(pydicom.examples.get_path("ybr_color")))
    path = _path(root, records, REAL_PATIENT, REAL_STUDY, 1)
    path.write_bytes(source.read_bytes())
    place.truth.append({"clip": path.stem, "view": "A4C", "real": True})


def _plant(root: Path, records: list[dict[str, object]], place: Institution, seed: int) -> None:
    """Stills, Doppler, odd encodings and damage, as archives hold them."""
    scanner = MIMIC[0]
    heart = new_heart(place.rng(0, "planted"), EF_MEAN, EF_SD)
    clip, _ = examine(heart, View.A4C, scanner, 20, place.rng(0, "planted_clip"))
    colour = _overlay(clip.frames, scanner)
    number = 0

    def new(kind: str) -> tuple[Path, Dataset]:
        nonlocal number
        number += 1
        path = _path(root, records, 15000000, 95000000, number)
        if kind:
            place.plant(kind, str(records[-1]["dicom_filepath"]))
        return path, _header(scanner, 0, seed, path.name, len(colour))

    path, header = new("still")
    header.SOPClassUID, header.NumberOfFrames = STILL, "1"
    _save(path, header, colour[:1])
    path, header = new("spectral")
    header.SequenceOfUltrasoundRegions = Sequence([_region(scanner, 3, 3)])
    header.SOPClassUID, header.NumberOfFrames = STILL, "1"
    _save(path, header, colour[:1])
    path, header = new("colour_doppler")
    header.SequenceOfUltrasoundRegions = Sequence([_region(scanner, 1, 2)])
    header.UltrasoundColorDataPresent = 1
    _save(path, header, colour)
    path, header = new("no_region")
    del header.SequenceOfUltrasoundRegions
    _save(path, header, colour)
    path, header = new("no_timing")
    del header.FrameTime
    del header.CineRate
    _save(path, header, colour)
    path, header = new("")
    header.PixelData = clip.frames.tobytes()
    _pixels(header, 1, "MONOCHROME2")
    _write(path, header, ExplicitVRLittleEndian)
    path, header = new("")
    _save_palette(path, header, clip.frames)
    path, header = new("undecodable")
    path.write_bytes(b"\0" * 128 + b"DICM" + bytes(range(256)))
    records[0]["dicom_filepath"] = f"/{records[0]['dicom_filepath']}"


def _save_palette(path: Path, dataset: Dataset, frames: NDArray[np.uint8]) -> None:
    """RLE with a grey palette."""
    table = np.arange(256, dtype=np.uint16) * 257
    for name in ("Red", "Green", "Blue"):
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(dataset, f"{name}PaletteColorLookupTableData", table.tobytes())
    dataset.PixelData = frames.tobytes()
    _pixels(dataset, 1, "PALETTE COLOR")
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.compress(RLELossless, generate_instance_uid=False)
    _write(path, dataset, RLELossless)
