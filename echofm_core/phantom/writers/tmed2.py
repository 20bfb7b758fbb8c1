"""TMED-2 as downloaded: 112 x 112 stills with view and aortic stenosis grade."""

from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from echofm_core.phantom.heart import Heart, draw_heart
from echofm_core.phantom.patients import Exam, Institution, Row, Rows, examine, write_table
from echofm_core.phantom.scanners import TMED
from echofm_core.phantom.views import View
from echofm_core.phantom.writers.files import cut_short

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
class _Images:
    """The tree on disk and its tables: all labelled images, then what a fold labels or does not."""

    site: Institution
    labels: Rows = field(default_factory=list)
    labelled: Rows = field(default_factory=list)
    unlabelled: Rows = field(default_factory=list)

    def add(self, item: str, exam: Exam, view: str, diagnosis: str, split: str) -> None:
        """Write one image and enter it in the tables that know it."""
        path = self.site.root / item
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(exam.clip.frames[0]).save(path)
        folder, _, key = item.rpartition("/")
        row: Row = {"query_key": key, "view_label": view, "diagnosis_label": diagnosis}
        if split != "unlabeled":
            self.labels.append(row)
        splits = dict.fromkeys(("view_classifier_split", "diagnosis_classifier_split"), split)
        rows = self.unlabelled if split == "unlabeled" else self.labelled
        rows.append({**row, "SourceFolder": folder, **splits})


def write(site: Institution) -> None:
    """Write ``approved_users_only/``."""
    images = _Images(site)
    for patient, rng in site.each():
        grade = int(rng.choice(len(GRADES), p=GRADE_SHARES))
        heart = draw_heart(rng, EF_MEAN, EF_SD, grade)
        split = "test" if patient % 4 == 3 else ("val" if patient % 16 == 5 else "train")
        for study in range(1, 3 if patient == TWICE else 2):
            _write_study(images, f"{1000 + patient}s{study}", heart, split, rng)
    if site.errors:
        _plant(images)
    write_table(site.root / "labels_per_image.csv", images.labels)
    for fold in range(3):
        stem = f"DEV479/TMED2_fold{fold}"
        write_table(site.root / f"{stem}_labeledpart.csv", images.labelled)
        write_table(site.root / f"{stem}_unlabeledpart.csv", images.unlabelled)


def _write_study(
    images: _Images, name: str, heart: Heart, split: str, rng: np.random.Generator
) -> None:
    """Labelled images of one study, and one that nobody labelled."""
    grade = GRADES[heart.as_grade]
    for number, (label, view) in enumerate(IMAGES):
        exam, key = examine(heart, view, TMED, 1, rng), f"{name}_{number}.png"
        images.add(f"{SET}/labeled/{key}", exam, label, grade, split)
        images.site.truth.append({**exam.truth(key), "study": name})
    exam = examine(heart, View.PLAX, TMED, 1, rng)
    item = f"{SET}/unlabeled/{name}_{len(IMAGES)}.png"
    images.add(item, exam, "Unlabeled", grade, "unlabeled")


def _plant(images: _Images) -> None:
    """A slash that would leave the root, what is no picture, and a study without a diagnosis."""
    site, folder = images.site, f"{SET}/labeled"
    images.labelled[0]["SourceFolder"] = f"/{folder}"
    site.plant("leading_slash", "TMED2_fold0_labeledpart.csv:0")
    (site.root / folder / "Thumbs.db").write_bytes(b"not a picture")
    site.plant("stray_file", f"{folder}/Thumbs.db")
    broken = str(images.labels[0]["query_key"])
    cut_short(site.root / folder / broken, 60)
    site.plant("undecodable", broken)
    rng = site.rng(0, "view_only")
    heart = draw_heart(rng, EF_MEAN, EF_SD)
    for number in range(8):
        exam = examine(heart, View.PLAX, TMED, 1, rng)
        item = f"{VIEW_SET}/labeled/9999s1_{number}.png"
        images.add(item, exam, "PLAX", "Not_Provided", "train")
