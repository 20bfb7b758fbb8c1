"""An institution's own AVI, MP4 and DICOM files, by a mapping file or just as they lie.

Layout: ``echofm.toml`` (see :mod:`echofm_core.data.readers.mapping`) above the files. Every id is a
keyed hash with the institution's secret, and findings name files by such an id too: names and
folders of a hospital's files may tell who was examined.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from echofm_core.data.dicom.header import ObjectKind
from echofm_core.data.dicom.identity import Identity, read_identity
from echofm_core.data.file_kinds import CINES, CINES_NAMED, Kind, files_below, kind_of
from echofm_core.data.findings import Findings
from echofm_core.data.formats.video_probe import probe_video
from echofm_core.data.manifest import Split, manifest_from_rows
from echofm_core.data.parallel import over_files
from echofm_core.data.patients import new_secret, pseudonym, read_secret
from echofm_core.data.readers import mapping as mapping_file
from echofm_core.data.readers._api import Reader
from echofm_core.data.readers._dicom import DIED, FileHeader, cine_columns, read_file_header
from echofm_core.data.readers._source import (
    Refusal,
    Row,
    Source,
    file_at,
    integer,
    sex_of,
)
from echofm_core.data.readers._stated import stated_numbers, stated_sex
from echofm_core.data.readers.own_table import Entry, read_entries
from echofm_core.runtime.errors import UnreadableFileError
from echofm_core.tasks import AS_CLASS_OF_GRADE, VIEWS, Task

LOOSE = "own_files"
#: Ages above it are given as it: those few people could be recognised by their age.
OLDEST = 90.0


class GenericReader(Reader):
    """Reads folders with a mapping file, which names the data set."""

    dataset = "generic"
    public = False
    layouts = ((mapping_file.NAME,),)

    def source(self, root: Path) -> Source:
        """The data set at ``root``.

        Raises:
            DataRootError: Its mapping file is not valid.
        """
        return Source(mapping_file.load_mapping(root).dataset, root)

    def rows(self, source: Source) -> Iterator[Row]:
        """What the mapping file names."""
        mapping = mapping_file.load_mapping(source.root)
        yield from _Reading(source, mapping, read_secret(source.root / mapping.secret)).rows()


def read_loose(place: Path) -> tuple[pd.DataFrame, Findings]:
    """Manifest of a file, or of those in a folder, without a mapping; ids hold for this call."""
    root, only = (place, None) if place.is_dir() else (place.parent, place.name)
    source = Source(LOOSE, root.resolve())
    mapping = mapping_file.Mapping(dataset=LOOSE, secret="-")
    rows = _Reading(source, mapping, new_secret(), only).rows()
    return manifest_from_rows(rows), source.findings


class _Opened(NamedTuple):
    """A file that is there: a DICOM file by its header, a video by the columns of its row."""

    path: str
    cine: FileHeader | Row
    identity: Identity | None = None


def _open(relative: str, root: Path, identify: bool) -> _Opened | Refusal:
    """Open one file, where it is DICOM, for its header and maybe for who was examined."""
    path = file_at(root, relative)
    if isinstance(path, Refusal):
        return path
    kind = kind_of(path)
    if kind not in CINES:
        return Refusal("stray_file", f"The file is none of {CINES_NAMED}.")
    try:
        if kind is not Kind.DICOM:
            _, frames, height, width, fps, _ = probe_video(path)
            sizes = {"n_frames": frames, "fps": fps, "height": height, "width": width}
            return _Opened(str(path), {"path": str(path), **sizes})
        header = read_file_header(relative, root)
        if isinstance(header, Refusal):
            return header
        identify = identify and header.header.kind is ObjectKind.CINE
        return _Opened(str(path), header, read_identity(path) if identify else None)
    except UnreadableFileError as error:
        return Refusal(error.kind, str(error))


@dataclass(slots=True, repr=False)
class _Reading:
    """One read: what it needs everywhere."""

    source: Source
    mapping: mapping_file.Mapping
    secret: bytes
    only: str | None = None

    def rows(self) -> list[Row]:
        root = self.source.root
        entries = self._entries()
        read = partial(_open, root=root, identify=not self.mapping.table)
        files = [entry.relative for entry in entries]
        named = {*files, *(() if self.only else files_below(root, CINES))}
        places = {self._id("clip", name): str(root / name) for name in named}
        self.source.findings.places.update(places)
        opened = over_files(read, files, "reading headers", DIED)
        rows = map(self._row, entries, opened)
        return self.source.one_split_a_patient(row for row in rows if row is not None)

    def _id(self, kind: str, text: str) -> str:
        name = pseudonym(self.secret, f"{self.source.dataset}/{kind}", text)
        return f"{self.source.dataset}-{name}" if kind == "clip" else name

    def _entries(self) -> list[Entry]:
        """Every file with what the table says of it."""
        if self.only is not None:
            return [Entry(self.only, {})]
        there = files_below(self.source.root, CINES)
        if not self.mapping.table:
            return [Entry(relative, {}) for relative in there]
        return read_entries(self.source, self.mapping, there, partial(self._id, "clip"))

    def _row(self, entry: Entry, found: _Opened | Refusal) -> Row | None:
        item = self._id("clip", entry.relative)
        cine = found if isinstance(found, Refusal) else found.cine
        columns = cine if isinstance(cine, dict) else cine_columns(cine, self.source, item)
        if columns is None or isinstance(found, Refusal):
            return None
        values = entry.values
        stated = stated_numbers(self.source, values, item)
        patient, study, person = self._who(entry, found, item, stated.pop("age", None))
        return {
            **columns,
            **person,
            "dataset": self.source.dataset,
            "clip_id": item,
            "patient_id": self._id("patient", patient),
            "study_id": self._id("study", study),
            "source_row": entry.row,
            "care_setting": values.get("care_setting") or None,
            **self._labels(values, item),
            **stated,
        }

    def _who(
        self, entry: Entry, found: _Opened, item: str, age: float | None
    ) -> tuple[str, str, Row]:
        """Patient and study, not yet hashed, and sex and age."""
        values = entry.values
        folder = Path(found.path).parent.relative_to(self.source.root.resolve()).as_posix()
        patient, study = values.get("patient_id", ""), values.get("study_id", "")
        sex = stated_sex(self.source, values.get("sex", ""), item)
        if (identity := found.identity) is not None:
            patient, study = identity.patient, identity.study
            sex, age = sex_of(identity.sex), identity.age or None
        if self.mapping.patient:
            match = re.search(self.mapping.patient, entry.relative)
            patient = match["patient"] if match else ""
        if not patient:
            patient = folder
            reason = "Nothing says who was examined; the files of its folder are one patient."
            self.source.repaired("no_patient", item, reason)
        person: Row = {"sex": sex, "age": None if age is None else min(age, OLDEST)}
        return patient, study or f"{patient}/{folder}", person

    def _labels(self, values: Mapping[str, str], item: str) -> Row:
        texts = {task: values.get(task.value) for task in (Task.EF, Task.EDV, Task.ESV)}
        views, splits = self.mapping.views, self.mapping.splits
        return {
            **self.source.labels(texts, item, in_unit=self.mapping.units.ef is not None),
            **self._stenosis(values, item),
            "quality": values.get("quality") or None,
            "view": self._word("view", values, VIEWS, views, item),
            "split": self._word("split", values, list(Split), splits, item),
        }

    def _stenosis(self, values: Mapping[str, str], item: str) -> Row:
        """Grade and class; neither, where the class is not that of the grade."""
        grade, kind = (
            integer(str(self.source.label(values.get(task.value), task, item)))
            for task in (Task.AS_GRADE, Task.AS_CLASS)
        )
        if grade is not None and kind not in (None, AS_CLASS_OF_GRADE[grade]):
            reason = "The class of aortic stenosis is not that of the grade; neither is used."
            self.source.repaired("grades_differ", item, reason)
            return {}
        return {"as_grade": grade, "as_class": kind}

    def _word(
        self,
        column: str,
        values: Mapping[str, str],
        legal: Sequence[str],
        words: Mapping[str, list[str]],
        item: str,
    ) -> str | None:
        """Our word for the table's; a word that the mapping does not know is noted."""
        written = values.get(column, "").strip().lower()
        if not written:
            return None
        for ours in legal:
            if written in [word.strip().lower() for word in (ours, *words.get(ours, ()))]:
                return str(ours)
        reason = f"The mapping has no entry for this word of `{column}`; it is left empty."
        self.source.repaired(f"unknown_{column}", item, reason)
        return None
