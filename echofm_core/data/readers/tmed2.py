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

from echofm_core.data.config import Development, Tmed2Config, Tmed2Form
from echofm_core.data.formats.stills import is_readable
from echofm_core.data.manifest import Split
from echofm_core.data.parallel import over_files
from echofm_core.data.readers._api import Reader
from echofm_core.data.readers._source import SPLITS, Row, Source, inside
from echofm_core.data.readers._tables import Table, read_table
from echofm_core.runtime.errors import DataRootError
from echofm_core.runtime.text import many
from echofm_core.tasks import VIEWS

LABELS = "labels_per_image.csv"
SETS = ("view_and_diagnosis_labeled_set", "view_labeled_set")
GRADES = {"no_AS": 0, "mild_AS": 1, "mildtomod_AS": 2, "moderate_AS": 3, "severe_AS": 4}
NO_GRADE = "Not_Provided"
IRRELEVANT_VIEW = "A4CorA2CorOther"
_SPLIT_COLUMNS = ("diagnosis_classifier_split", "view_classifier_split")
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


class Tmed2Reader(Reader):
    """Reads the release as downloaded, as the plan's table ``[data.tmed2]`` says."""

    dataset = "tmed2"
    layouts = tuple((LABELS, f"{name}/") for name in SETS)

    def __init__(self, config: Tmed2Config | None = None) -> None:
        self.config = config or Tmed2Config()

    def rows(self, source: Source) -> list[Row]:
        """The studies with at least one relevant, readable image."""
        studies = _studies(source)
        _drop_unreadable(source, studies)
        table = self._split_table(source)
        if table is not None:
            _add_splits(source, table, studies)
        return source.one_split_a_patient(
            row for name, study in studies.items() for row in self._rows(source, name, study)
        )

    def _split_table(self, source: Source) -> Table | None:
        """The chosen fold's table; the default one may be missing, and that is noted.

        Raises:
            DataRootError: A fold was chosen that is not there, or the table is damaged.
        """
        development, fold = self.config.development, self.config.fold
        name = f"{development.value}/TMED2_fold{fold}_labeledpart.csv"
        file = source.root / name
        if file.is_file():
            return read_table(file, ("query_key", "SourceFolder", *_SPLIT_COLUMNS))
        if development is not Development.DEV479 or fold:
            raise DataRootError(
                f"data.tmed2 asks for fold {fold} of {development.value}, but {file} is not "
                "there; download it, or choose another."
            )
        reason = "The split table is missing; studies have no official split."
        source.repaired("no_split_file", name, reason)
        return None

    def _rows(self, source: Source, name: str, study: _Study) -> Iterator[Row]:
        for split in study.splits:
            yield {"patient_id": study.patient, "split": split}
        if not study.images:
            reason = "The study has no readable image of a relevant view."
            source.quarantined("no_relevant_view", name, reason)
            return
        if len(study.grades) > 1:
            reason = "The images of the study have different grades; none is used."
            source.repaired("grades_differ", name, reason)
        grade = next(iter(study.grades)) if len(study.grades) == 1 else None
        apart = self.config.form is Tmed2Form.IMAGES
        images = dict(sorted(study.images.items()))
        clips = {name: list(images.values())}
        if apart:
            clips = {f"{name}_{number}": [image] for number, image in images.items()}
        for clip, shown in clips.items():
            views = {image.view for image in shown}
            yield source.row(
                study.patient,
                clip,
                study_id=name,
                as_grade=grade,
                path=os.pathsep.join(str(image.path) for image in shown),
                view=next(iter(views)) if len(views) == 1 else None,
                n_frames=len(shown),
                source_row=shown[0].source_row if apart else study.source_row,
            )


def _studies(source: Source) -> dict[str, _Study]:
    """Studies with their images and grades, as the table of labels has them."""
    files = _files(source)
    studies: dict[str, _Study] = {}
    table = read_table(source.root / LABELS, ("query_key", "view_label", "diagnosis_label"))
    for index, values in enumerate(table.rows):
        item, key, view = table.item(index), values["query_key"].lower(), values["view_label"]
        match = _IMAGE.fullmatch(key)
        if match is None:
            source.quarantined("bad_path", item, "The row names no image of the form 5269s1_0.png.")
            continue
        name = f"{match['patient']}s{match['study']}"
        study = studies.setdefault(name, _Study(match["patient"], index))
        grade = values["diagnosis_label"]
        if grade in GRADES:
            study.grades.add(GRADES[grade])
        elif grade not in ("", NO_GRADE):
            reason = "The diagnosis is none of the five grades; it is not used."
            source.repaired("label_out_of_range", item, reason)
        if view == IRRELEVANT_VIEW:
            pass  # two images in five, as published: nothing is wrong with them
        elif view not in VIEWS:
            source.quarantined("unknown_view", item, "The view is not a known one.")
        elif key not in files:
            source.quarantined("missing_file", key, "Listed, not there.")
        else:
            study.images[int(match["image"])] = _Image(files[key], view, index)
    return studies


def _files(source: Source) -> dict[str, Path]:
    """Labelled images by name; ``labeled/`` may be there twice over, one in the other."""
    files: dict[str, Path] = {}
    folders = [f"{name}/{labeled}" for name in SETS for labeled in ("labeled", "labeled/labeled")]
    for path in sorted(path for folder in folders for path in source.root.glob(f"{folder}/*")):
        if not path.is_file():
            continue
        item = path.relative_to(source.root).as_posix()
        if _IMAGE.fullmatch(path.name) is None:
            source.quarantined("stray_file", item, "The file is not an image of this data set.")
        elif inside(source.root, item) is None:
            source.quarantined("bad_path", item, "The file is a link out of the root.")
        else:
            files.setdefault(path.name.lower(), path.resolve())
    return files


def _drop_unreadable(source: Source, studies: dict[str, _Study]) -> None:
    listed = [(study, number) for study in studies.values() for number in study.images]
    files = [study.images[number].path for study, number in listed]
    readable = over_files(is_readable, files, "checking images", died=False)
    for (study, number), file, sound in zip(listed, files, readable, strict=True):
        if not sound:
            source.quarantined("undecodable", file.name, "The image cannot be decoded.")
            del study.images[number]


def _add_splits(source: Source, table: Table, studies: dict[str, _Study]) -> None:
    """Official split of each study: that for diagnosis, else that for views."""
    by_view: dict[str, set[Split]] = defaultdict(set)
    for index, values in enumerate(table.rows):
        folder, item = values["SourceFolder"], table.item(index)
        if folder.startswith("/"):
            reason = "SourceFolder starts with a slash, which is dropped."
            source.repaired("leading_slash", item, reason)
        name = values["query_key"].partition("_")[0]
        if name not in studies:
            continue
        diagnosis, view = (SPLITS.get(values[column].lower()) for column in _SPLIT_COLUMNS)
        if inside(source.root, f"{folder.lstrip('/')}/{values['query_key']}") is None:
            source.quarantined("bad_path", item, "The path leaves the data root.")
        elif diagnosis:
            studies[name].splits.add(diagnosis)
        elif view:
            by_view[name].add(view)
    outside = [study for study in studies.values() if study.grades and not study.splits]
    for study in outside:
        study.grades.clear()
    if outside:
        reason = (
            f"{many(len(outside), 'graded study is', 'graded studies are')} not in this split, "
            "and used without a grade."
        )
        source.noted("outside_split", table.name, reason)
    for name, splits in by_view.items():
        studies[name].splits = studies[name].splits or splits
