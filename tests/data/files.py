"""Real files of every kind, small: AVI by OpenCV, DICOM by pydicom, NIfTI by nibabel, PNG."""

from __future__ import annotations

from pathlib import Path

import cv2
import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid

CINE_CLASS = "1.2.840.10008.5.1.4.1.1.3.1"
STILL_CLASS = "1.2.840.10008.5.1.4.1.1.6.1"


def wedge(height: int, width: int) -> NDArray[np.bool_]:
    """A sector: apex in the middle of the top edge, half-angle 45 degrees, radius 0.95 height."""
    y, x = np.mgrid[:height, :width] + 0.5
    x = x - width / 2
    return (np.abs(x) <= y) & (np.hypot(x, y) <= 0.95 * height)


def speckle(count: int, height: int = 64, width: int = 64, seed: int = 0) -> NDArray[np.uint8]:
    """Flickering smooth noise ``(N, H, W)`` in a wedge, black around it."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(20, 220, (count, height, width), dtype=np.uint8)
    smooth = np.stack([cv2.GaussianBlur(frame, (5, 5), 1.0) for frame in noise])
    return np.where(wedge(height, width), smooth, np.uint8(0))


def write_avi(path: Path, frames: NDArray[np.uint8], fps: float = 50.0) -> Path:
    """Motion JPEG, as EchoNet-Dynamic has it."""
    height, width = frames.shape[1:]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (width, height))
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    writer.release()
    return path


def write_coloured(path: Path, frames: NDArray[np.uint8], coding: str, fps: float = 30.0) -> Path:
    """RGB ``(N, H, W, 3)`` as a video, e.g. ``MJPG`` or ``mp4v``."""
    height, width = frames.shape[1:3]
    four = cv2.VideoWriter.fourcc(*coding)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, four, fps, (width, height))
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    return path


def with_jet(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB of grey frames with a patch of flow, red and blue in turns, in every second half beat."""
    colour = np.repeat(frames[..., None], 3, axis=-1)
    _, height, width = frames.shape
    part = np.s_[height // 3 : 2 * height // 3, 3 * width // 8 : 5 * width // 8]
    for number, frame in enumerate(colour):
        if number % 12 < 6:
            frame[part] = (220, 40, 20) if number % 2 else (20, 60, 220)
    return colour


def write_uneven_mp4(path: Path, frames: NDArray[np.uint8], steps: list[float]) -> Path:
    """MP4 whose frames are shown for ``steps`` seconds each: its table of durations is rewritten.

    Their sum must not pass what equal steps of 1/30 s give, where the file says that it ends.
    """
    write_coloured(path, np.repeat(frames[..., None], 3, axis=-1), "mp4v")
    data, parents = bytearray(path.read_bytes()), []
    place, end = 0, len(data)
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts"):
        while data[place + 4 : place + 8] != name:
            place += int.from_bytes(data[place : place + 4], "big")
            assert place < end
        parents.append(place)
        place += 8
    scale = int.from_bytes(data[data.index(b"mdhd") + 16 :][:4], "big")
    entries = b"".join(
        (1).to_bytes(4, "big") + round(step * scale).to_bytes(4, "big") for step in steps
    )
    table = parents.pop()
    old = int.from_bytes(data[table : table + 4], "big")
    new = (16 + len(entries)).to_bytes(4, "big") + b"stts" + bytes(4)
    data[table : table + old] = new + len(steps).to_bytes(4, "big") + entries
    for parent in parents:
        size = int.from_bytes(data[parent : parent + 4], "big") + 16 + len(entries) - old
        data[parent : parent + 4] = size.to_bytes(4, "big")
    path.write_bytes(data)
    return path


def write_png(path: Path, image: NDArray[np.uint8]) -> Path:
    Image.fromarray(image).save(path)
    return path


def write_nifti(
    path: Path,
    frames: NDArray[np.uint8],
    singleton: bool = False,
    pixel: tuple[float, float] = (1.0, 1.0),
) -> Path:
    """``(N, H, W)`` frames in NIfTI's axis order ``(W, H, N)``; width and height of a pixel, mm."""
    values = frames.transpose(2, 1, 0)
    values = values[:, :, None, :] if singleton else values
    nibabel.save(nibabel.Nifti1Image(values, np.diag([*pixel, 1.0, 1.0])), path)
    return path


def region(spatial: int = 1, data: int = 1, box: tuple[int, ...] = (0, 0, 63, 63)) -> Dataset:
    """One ultrasound region; box is left, top, right, bottom, inclusive."""
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = spatial, data, 0
    item.RegionLocationMinX0, item.RegionLocationMinY0 = box[0], box[1]
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = box[2], box[3]
    return item


def header(**values: object) -> Dataset:
    """An ultrasound header without pixels."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CINE_CLASS, generate_uid(entropy_srcs=["test"])
    dataset.Modality, dataset.Rows, dataset.Columns = "US", 64, 64
    dataset.NumberOfFrames = 12
    for keyword, value in values.items():
        if value is None:
            delattr(dataset, keyword)
        elif keyword == "regions":
            dataset.SequenceOfUltrasoundRegions = Sequence(value)
        else:
            setattr(dataset, keyword, value)
    return dataset


def with_pixels(dataset: Dataset, photometric: str, pixels: NDArray[np.generic]) -> Dataset:
    """Set the image module for uncompressed ``(N, H, W)`` or ``(N, H, W, 3)`` pixels."""
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = pixels.shape[:3]
    dataset.SamplesPerPixel = 3 if pixels.ndim == 4 else 1
    if pixels.ndim == 4:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = photometric
    bits = pixels.dtype.itemsize * 8
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = 0
    dataset.PixelData = pixels.tobytes()
    return dataset


def save_dicom(path: Path, dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> Path:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta = meta
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_jpeg_cine(path: Path, frames: NDArray[np.uint8], **values: object) -> Path:
    """A cine as scanners write it: JPEG baseline, YBR_FULL_422."""
    dataset = with_pixels(header(), "YBR_FULL_422", np.stack([frames] * 3, axis=-1))
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    images = [
        cv2.imencode(
            ".jpg", cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90]
        )
        for frame in frames
    ]
    dataset.PixelData = encapsulate([data.tobytes() for _, data in images])
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
    return save_dicom(path, dataset, JPEGBaseline8Bit)


def damage(good: Path, folder: Path) -> dict[str, Path]:
    """The file cut in the middle, cut to 40 bytes, emptied, and replaced by noise."""
    data = good.read_bytes()
    noise = np.random.default_rng(0).integers(0, 256, 4000, dtype=np.uint8).tobytes()
    made = {}
    for name, content in {
        "cut": data[: len(data) // 2],
        "stub": data[:40],
        "empty": b"",
        "junk": noise,
    }.items():
        made[name] = folder / f"{name}_{good.name}"
        made[name].write_bytes(content)
    return made
