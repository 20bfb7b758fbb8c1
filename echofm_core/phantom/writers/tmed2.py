"""TMED-2 as downloaded: 112 x 112 stills with view and aortic stenosis grade."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from echofm_core.console import Meter
from echofm_core.phantom.anatomy import View
from echofm_core.phantom.heart import Heart
from echofm_core.phantom.patients import Institution, examine, new_heart, write_table
from echofm_core.phantom.scanners import TMED

EF_MEAN, EF_SD = 58.0, 9.0
#: Published names of the grades, and how many of the 598 studies have them by thirds.
GRADES = ("no_AS", "mild_AS", "mildtomod_AS", "moderate_AS", "severe_AS")
GRADE_SHARES = (0.26, 0.16, 0.1, 0.2, 0.28)
#: Images of a study: view label of the source and what is drawn for it.
IMAGES = (
    *[("PLAX", View.PLAX)] * 5,
    *[("PSAX", View.PSAX)] * 3,
    ("A4C", View.A4C),
    ("A2C", View.A2C),
    *[("A4CorA2CorOther", View.A4C)] * 2,
)
SET = "view_and_diagnosis_labeled_set"


def write(folder: Path, patients: int, seed: int, errors: bool, meter: Meter | None) -> Path:
    """Write ``approved_users_only/`` with its truth and planted errors; returns the root."""
    root = folder / "approved_users_only"
    images = root / SET / "labeled"
    images.mkdir(parents=True)
    place = Institution("tmed2", seed)
    labels: list[dict[str, object]] = []
    split_rows: list[dict[str, object]] = []
    for patient in range(patients):
        rng = place.rng(patient, "patient")
        grade = int(rng.choice(len(GRADES), p=GRADE_SHARES))
        heart = new_heart(rng, EF_MEAN, EF_SD, grade)
        split = "test" if patient % 4 == 3 else ("val" if patient % 16 == 5 else "train")
        for study in range(1, 3 if patient == 4 else 2):
            name = f"{1000 + patient}s{study}"
            _write_study(images, name, heart, GRADES[grade], split, labels, split_rows, rng)
            place.truth.append({"clip": name, "as_grade": grade})
        if meter:
            meter.advance()
    if errors and labels:
        _plant(root, place, labels, split_rows)
    write_table(root / "labels_per_image.csv", labels)
    for fold in range(3):
        write_table(root / "DEV479" / f"TMED2_fold{fold}_labeledpart.csv", split_rows)
    return place.close(root)


def _write_study(
    images: Path,
    name: str,
    heart: Heart,
    diagnosis: str,
    split: str,
    labels: list[dict[str, object]],
    split_rows: list[dict[str, object]],
    rng: np.random.Generator,
) -> None:
    for number, (label, view) in enumerate(IMAGES):
        clip, _ = examine(heart, view, TMED, 1, rng)
        key = f"{name}_{number}.png"
        Image.fromarray(clip.frames[0]).save(images / key)
        row: dict[str, object] = {
            "query_key": key,
            "view_label": label,
            "diagnosis_label": diagnosis,
        }
        labels.append(row)
        split_rows.append(
            {
                **row,
                "SourceFolder": f"{SET}/labeled",
                "view_classifier_split": split,
                "diagnosis_classifier_split": split,
            }
        )


def _plant(
    root: Path,
    place: Institution,
    labels: list[dict[str, object]],
    split_rows: list[dict[str, object]],
) -> None:
    images = root / SET / "labeled"
    split_rows[0]["SourceFolder"] = f"/{SET}/labeled"
    place.plant("leading_slash", "DEV479/TMED2_fold0_labeledpart.csv:0")
    (images / "Thumbs.db").write_bytes(b"not a picture")
    place.plant("stray_file", f"{SET}/labeled/Thumbs.db")
    broken = str(labels[0]["query_key"])
    (images / broken).write_bytes((images / broken).read_bytes()[:60])
    place.plant("undecodable", broken)
    views = root / "view_labeled_set" / "labeled"
    views.mkdir(parents=True)
    heart = new_heart(place.rng(0, "view_only"), EF_MEAN, EF_SD)
    rng = place.rng(0, "view_only_images")
    for number in range(8):
        clip, _ = examine(heart, View.PLAX, TMED, 1, rng)
        key = f"9999s1_{number}.png"
        Image.fromarray(clip.frames[0]).save(views / key)
        labels.append({"query_key": key, "view_label": "PLAX", "diagnosis_label": "Not_Provided"})
