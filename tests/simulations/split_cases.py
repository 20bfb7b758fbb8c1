"""Manifests whose split can be counted by hand, and folders read back by other parsers."""

import csv
from pathlib import Path

from echofm_core.data.manifest import manifest_from_rows, save_manifest


def made(folder: Path, patients: int = 40) -> Path:
    """Manifest of one data set without an official split, two clips a patient."""
    rows = [
        {
            "dataset": "made",
            "patient_id": f"{patient:04d}",
            "study_id": f"{patient:04d}s",
            "clip_id": f"{patient:04d}-{clip}",
            "path": str(folder / "data" / f"{patient:04d}-{clip}.avi"),
            "view": ["A4C", "A2C"][clip],
            "quality": ["Good", "Medium", "Poor"][patient % 3],
            "vendor": "GE",
            "model": ["Vivid E95", "Vivid S70"][patient % 2],
            "ef": 20.1 + patient,
            "fps": 53.4,
            "care_setting": ["ward", "outpatient"][patient % 2],
            "n_frames": 30 + patient,
        }
        for patient in range(patients)
        for clip in range(2)
    ]
    save_manifest(manifest_from_rows(rows), folder / "manifest.parquet")
    return folder / "manifest.parquet"


def small(folder: Path) -> Path:
    """Two data sets with official splits, four patients, five clips: counted by hand below."""
    rows = [
        ("alpha", "p1", "p1-a", "train", "A4C", 55.0, None, None),
        ("alpha", "p1", "p1-b", "train", "A2C", 55.0, None, None),
        ("alpha", "p2", "p2-a", "test", None, None, None, None),
        ("beta", "p1", "q1-a", "train", "PLAX", None, None, 3),
        ("beta", "p3", "q3-a", "val", "PLAX", 40.0, 100.0, 0),
    ]
    names = ("dataset", "patient_id", "clip_id", "split", "view", "ef", "edv", "as_grade")
    table = [{**dict(zip(names, row, strict=True)), "path": f"/x/{row[2]}.png"} for row in rows]
    save_manifest(manifest_from_rows(table), folder / "small.parquet")
    return folder / "small.parquet"


def read(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def tree(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())
