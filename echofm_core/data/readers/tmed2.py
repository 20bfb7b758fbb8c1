"""TMED-2 (Tufts): still images with view and aortic stenosis grade.

Layout: ``labels_per_image.csv``, ``view_and_diagnosis_labeled_set/``, ``view_labeled_set/`` and the
split tables in ``DEV479/``, ``DEV165/`` and ``DEV56/``. Source: Huang 2021 and 2022.

The data are stills and the models see clips. The plan says what a sample is made of
(``data.tmed2.form``), always of the labelled images of the relevant views (PLAX, PSAX, A4C, A2C):

* ``study_clip`` and ``bag``: a clip is a study, its images in the order of their number stacked as
  frames (the study pseudo-clip of the published video models). ``path`` joins the files by
  ``os.pathsep``; ``view`` is the common view of the images, null where they differ. What tells the
  two apart is the model: see :mod:`echofm_core.models.stf_net`.
* ``images``: a clip is an image, played as equal frames, and has its own view. Its study's grade is
  its label, and predictions are averaged over the study where they are scored.

There is no frame rate. The five published grades are kept (the task ``as_class`` is the publisher's
three classes of them); studies of the view-only set have none, nor have those outside the chosen
development set. The split is that set's, where its table is there, else null. A patient with
studies in two splits goes, whole, to the one that is held out more.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from echofm_core.data.config import Development, Tmed2Config, Tmed2Form
from echofm_core.data.findings import Findings, Severity
from echofm_core.data.formats.stills import is_readable
from echofm_core.data.manifest import Split, manifest_from_rows
from echofm_core.data.readers._files import over_files
from echofm_core.data.readers._source import inside
from echofm_core.data.readers._splits import HELD_OUT
from echofm_core.data.readers._tables import Table, read_table
from echofm_core.runtime.errors import DataRootError
from echofm_core.runtime.text import many
from echofm_core.tasks import VIEWS

LABELS = "labels_per_image.csv"
SETS = ("view_and_diagnosis_labeled_set", "view_labeled_set")
GRADES = {"no_AS": 0, "mild_AS": 1, "mildtomod_AS": 2, "moderate_AS": 3, "severe_AS": 4}
NO_GRADE = "Not_Provided"
IRRELEVANT_VIEW = "A4CorA2CorOther"
SPLIT_COLUMNS = (
    "query_key",
    "SourceFolder",
    "view_classifier_split",
    "diagnosis_classifier_split",
)
#: Split names of the source.
SPLITS = {"train": Split.TRAIN, "val": Split.VALIDATION, "test": Split.TEST}
_IMAGE = re.compile(r"(?P<patient>\d+)s(?P<study>\d+)_(?P<image>\d+)\.(?i:png)")


@dataclass(frozen=True, slots=True)
class _Image:
    """A labelled image of a relevant view."""

    path: Path
    view: str
    source_row: int


@dataclass(slots=True)
class _Study:
    """What is collected of one study before it becomes a row, or several."""

    patient: str
    source_row: int
    images: dict[int, _Image] = field(default_factory=dict)
    grades: set[int] = field(default_factory=set)
    splits: set[Split] = field(default_factory=set)


class Tmed2Reader:
    """Reads the release as downloaded, as the plan's table ``[data.tmed2]`` says."""

    dataset = "tmed2"
    public = True

    def __init__(self, config: Tmed2Config | None = None) -> None:
        self.config = config or Tmed2Config()

    def find(self, root: Path) -> bool:
        """Is this layout at ``root``?"""
        return (root / LABELS).is_file() and any((root / name).is_dir() for name in SETS)

    def read(self, root: Path) -> tuple[pd.DataFrame, Findings]:
        """Manifest of the studies with at least one relevant, readable image."""
        findings = Findings()
        files = self._files(root, findings)
        studies: dict[str, _Study] = {}
        table = read_table(root / LABELS, ("query_key", "view_label", "diagnosis_label"))
        for index, values in enumerate(table.rows):
            self._collect(table, index, values, files, studies, findings)
        self._drop_unreadable(studies, findings)
        self._add_splits(root, studies, findings)
        self._one_split_a_patient(studies, findings)
        rows = [row for name in studies for row in self._rows(name, studies[name], findings)]
        return manifest_from_rows(rows), findings

    def _files(self, root: Path, findings: Findings) -> dict[str, Path]:
        """Labelled images by name; ``labeled/`` may be there twice over, one in the other."""
        files: dict[str, Path] = {}
        for path in sorted(self._labelled(root)):
            if not path.is_file():
                continue
            item = path.relative_to(root).as_posix()
            if _IMAGE.fullmatch(path.name) is None:
                reason = "The file is not an image of this data set."
                findings.add(self.dataset, "stray_file", item, reason)
            elif inside(root, item) is None:
                findings.add(self.dataset, "bad_path", item, "The file is a link out of the root.")
            else:
                files.setdefault(path.name.lower(), path.resolve())
        return files

    def _labelled(self, root: Path) -> Iterator[Path]:
        for name in SETS:
            yield from (root / name / "labeled").glob("*")
            yield from (root / name / "labeled" / "labeled").glob("*")

    def _collect(
        self,
        table: Table,
        index: int,
        values: dict[str, str],
        files: dict[str, Path],
        studies: dict[str, _Study],
        findings: Findings,
    ) -> None:
        """Add one labelled image to its study."""
        key, view = values["query_key"].lower(), values["view_label"]
        match = _IMAGE.fullmatch(key)
        if match is None:
            reason = "The row names no image of the form 5269s1_0.png."
            findings.add(self.dataset, "bad_path", table.item(index), reason)
            return
        name = f"{match['patient']}s{match['study']}"
        study = studies.setdefault(name, _Study(match["patient"], index))
        grade = values["diagnosis_label"]
        if grade in GRADES:
            study.grades.add(GRADES[grade])
        elif grade not in ("", NO_GRADE):
            reason = "The diagnosis is none of the five grades; it is not used."
            findings.add(
                self.dataset, "label_out_of_range", table.item(index), reason, Severity.REPAIRED
            )
        if view == IRRELEVANT_VIEW:
            return  # two images in five, as published: nothing is wrong with them
        if view not in VIEWS:
            findings.add(
                self.dataset, "unknown_view", table.item(index), "The view is not a known one."
            )
        elif key not in files:
            findings.add(self.dataset, "missing_file", key, "Listed, not there.")
        else:
            study.images[int(match["image"])] = _Image(files[key], view, index)

    def _drop_unreadable(self, studies: dict[str, _Study], findings: Findings) -> None:
        listed = [(study, number) for study in studies.values() for number in study.images]
        files = [study.images[number].path for study, number in listed]
        readable = over_files(is_readable, files, "checking images", died=False)
        for (study, number), file, sound in zip(listed, files, readable, strict=True):
            if not sound:
                findings.add(self.dataset, "undecodable", file.name, "The image cannot be decoded.")
                del study.images[number]

    def _split_table(self, root: Path, findings: Findings) -> Table | None:
        """The chosen fold's table; the default one may be missing, and that is noted.

        Raises:
            DataRootError: A fold was chosen that is not there, or the table is damaged.
        """
        development, fold = self.config.development, self.config.fold
        file = f"{development.value}/TMED2_fold{fold}_labeledpart.csv"
        if (root / file).is_file():
            return read_table(root / file, SPLIT_COLUMNS)
        if development is not Development.DEV479 or fold:
            raise DataRootError(
                f"data.tmed2 asks for fold {fold} of {development.value}, but {root / file} is not "
                "there; download it, or choose another."
            )
        reason = "The split table is missing; studies have no official split."
        findings.add(self.dataset, "no_split_file", file, reason, Severity.REPAIRED)
        return None

    def _add_splits(self, root: Path, studies: dict[str, _Study], findings: Findings) -> None:
        """Official split of each study: that for diagnosis, else that for views."""
        table = self._split_table(root, findings)
        if table is None:
            return
        by_view: dict[str, set[Split]] = defaultdict(set)
        for index, values in enumerate(table.rows):
            folder = values["SourceFolder"]
            if folder.startswith("/"):
                reason = "SourceFolder starts with a slash, which is dropped."
                item = table.item(index)
                findings.add(self.dataset, "leading_slash", item, reason, Severity.REPAIRED)
            name = values["query_key"].partition("_")[0]
            if name not in studies:
                continue
            if inside(root, f"{folder.lstrip('/')}/{values['query_key']}") is None:
                reason = "The path leaves the data root."
                findings.add(self.dataset, "bad_path", table.item(index), reason)
            elif split := SPLITS.get(values["diagnosis_classifier_split"].lower()):
                studies[name].splits.add(split)
            elif split := SPLITS.get(values["view_classifier_split"].lower()):
                by_view[name].add(split)
        outside = [study for study in studies.values() if study.grades and not study.splits]
        for study in outside:
            study.grades.clear()
        if outside:
            reason = (
                f"{many(len(outside), 'graded study is', 'graded studies are')} not in this split, "
                "and used without a grade."
            )
            findings.add(self.dataset, "outside_split", table.name, reason, Severity.NOTED)
        for name, splits in by_view.items():
            studies[name].splits = studies[name].splits or splits

    def _one_split_a_patient(self, studies: dict[str, _Study], findings: Findings) -> None:
        splits: dict[str, set[Split]] = defaultdict(set)
        for study in studies.values():
            splits[study.patient] |= study.splits
        for patient, found in splits.items():
            if len(found) > 1:
                most = max(found, key=HELD_OUT.index)
                reason = f"The patient is in more than one split; taken as {most.value}."
                findings.add(
                    self.dataset, "patient_in_two_splits", patient, reason, Severity.REPAIRED
                )
        for study in studies.values():
            if found := splits[study.patient]:
                study.splits = {max(found, key=HELD_OUT.index)}

    def _rows(self, name: str, study: _Study, findings: Findings) -> Iterator[dict[str, object]]:
        if not study.images:
            reason = "The study has no readable image of a relevant view."
            findings.add(self.dataset, "no_relevant_view", name, reason)
            return
        if len(study.grades) > 1:
            reason = "The images of the study have different grades; none is used."
            findings.add(self.dataset, "grades_differ", name, reason, Severity.REPAIRED)
        common = {
            "dataset": self.dataset,
            "patient_id": study.patient,
            "study_id": name,
            "split": next(iter(study.splits), None),
            "as_grade": next(iter(study.grades)) if len(study.grades) == 1 else None,
        }
        images = dict(sorted(study.images.items()))
        if self.config.form is Tmed2Form.IMAGES:
            for number, image in images.items():
                yield {
                    **common,
                    "clip_id": f"{name}_{number}",
                    "path": str(image.path),
                    "view": image.view,
                    "n_frames": 1,
                    "source_row": image.source_row,
                }
            return
        views = {image.view for image in images.values()}
        yield {
            **common,
            "clip_id": name,
            "path": os.pathsep.join(str(image.path) for image in images.values()),
            "view": next(iter(views)) if len(views) == 1 else None,
            "n_frames": len(images),
            "source_row": study.source_row,
        }
