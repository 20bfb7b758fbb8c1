"""TMED-2 as downloaded: 112 x 112 stills with view and aortic stenosis grade."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from echofm_core.phantom.heart import Heart, draw_heart
from echofm_core.phantom.patients import Exam, Institution, Rows, examine, write_table
from echofm_core.phantom.scanners import TMED
from echofm_core.phantom.views import View

EF_MEAN, EF_SD = 58.0, 9.0
#: Published names of the grades, and shares that follow the published 126/171/301 studies.
GRADES = ("no_AS", "mild_AS", "mildtomod_AS", "moderate_AS", "severe_AS")
GRADE_SHARES = (0.22, 0.15, 0.13, 0.22, 0.28)
#: Images of a study: view label of the source and what is drawn for it.
IMAGES = (
    *[("PLAX", View.PLAX)] * 5,
    *[("PSAX", View.PSAX)] * 3,
    ("A4C", View.A4C),
    ("A2C", View.A2C),
    ("A4CorA2CorOther", View.PSAX_LV),
    ("A4CorA2CorOther", View.A4C),
)
#: The patient who came twice.
TWICE = 4
SET, VIEW_SET = "view_and_diagnosis_labeled_set", "view_labeled_set"


@dataclass(slots=True)
class _Tables:
    labels: Rows = field(default_factory=list)
    labelled: Rows = field(default_factory=list)
    unlabelled: Rows = field(default_factory=list)

    def add(self, key: str, view: str, diagnosis: str, folder: str, split: str) -> None:
        """Enter one image in the tables that know it."""
        row: dict[str, object] = {
            "query_key": key, "view_label": view, "diagnosis_label": diagnosis,
        }  # fmt: skip
        if split != "unlabeled":
            self.labels.append(row)
        splits = dict.fromkeys(("view_classifier_split", "diagnosis_classifier_split"), split)
        rows = self.unlabelled if split == "unlabeled" else self.labelled
        rows.append({**row, "SourceFolder": folder, **splits})


def write(site: Institution) -> Path:
    """Write ``approved_users_only/`` with its truth and planted errors; returns the root."""
    root = site.folder / "approved_users_only"
    for part in ("labeled", "unlabeled"):
        (root / SET / part).mkdir(parents=True)
    tables = _Tables()
    for patient, rng in site.each():
        grade = int(rng.choice(len(GRADES), p=GRADE_SHARES))
        heart = draw_heart(rng, EF_MEAN, EF_SD, grade)
        split = "test" if patient % 4 == 3 else ("val" if patient % 16 == 5 else "train")
        for study in range(1, 3 if patient == TWICE else 2):
            _write_study(root, site, tables, f"{1000 + patient}s{study}", heart, split, rng)
    if site.errors:
        _plant(root, site, tables)
    write_table(root / "labels_per_image.csv", tables.labels)
    for fold in range(3):
        stem = f"DEV479/TMED2_fold{fold}"
        write_table(root / f"{stem}_labeledpart.csv", tables.labelled)
        write_table(root / f"{stem}_unlabeledpart.csv", tables.unlabelled)
    return site.close(root)


def _write_study(
    root: Path,
    site: Institution,
    tables: _Tables,
    name: str,
    heart: Heart,
    split: str,
    rng: np.random.Generator,
) -> None:
    """Labelled images of one study, and one that nobody labelled."""
    for number, (label, view) in enumerate(IMAGES):
        exam = examine(heart, view, TMED, 1, rng)
        key = f"{name}_{number}.png"
        _save(root / SET / "labeled" / key, exam)
        tables.add(key, label, GRADES[heart.as_grade], f"{SET}/labeled", split)
        site.truth.append({**exam.truth(key), "study": name})
    key = f"{name}_{len(IMAGES)}.png"
    _save(root / SET / "unlabeled" / key, examine(heart, View.PLAX, TMED, 1, rng))
    tables.add(key, "Unlabeled", GRADES[heart.as_grade], f"{SET}/unlabeled", "unlabeled")


def _save(path: Path, exam: Exam) -> None:
    Image.fromarray(exam.clip.frames[0]).save(path)


def _plant(root: Path, site: Institution, tables: _Tables) -> None:
    """A slash that would leave the root, what is no picture, and a study without a diagnosis."""
    images = root / SET / "labeled"
    tables.labelled[0]["SourceFolder"] = f"/{SET}/labeled"
    site.plant("leading_slash", "TMED2_fold0_labeledpart.csv:0")
    (images / "Thumbs.db").write_bytes(b"not a picture")
    site.plant("stray_file", f"{SET}/labeled/Thumbs.db")
    broken = str(tables.labels[0]["query_key"])
    (images / broken).write_bytes((images / broken).read_bytes()[:60])
    site.plant("undecodable", broken)
    views = root / VIEW_SET / "labeled"
    views.mkdir(parents=True)
    rng = site.rng(0, "view_only")
    heart = draw_heart(rng, EF_MEAN, EF_SD)
    for number in range(8):
        key = f"9999s1_{number}.png"
        _save(views / key, examine(heart, View.PLAX, TMED, 1, rng))
        tables.add(key, "PLAX", "Not_Provided", f"{VIEW_SET}/labeled", "train")
