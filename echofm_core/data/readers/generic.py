"""An institution's own AVI, MP4 and DICOM files, by a mapping file or just as they lie.

Layout: ``echofm.toml`` (see :mod:`echofm_core.data.readers.mapping`) above the files. Every id is a
keyed hash with the institution's secret, and findings name files by such an id too: names and
folders of a hospital's files may tell who was examined.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from echofm_core.data.dicom.identity import read_identity
from echofm_core.data.findings import Findings, Severity
from echofm_core.data.manifest import manifest_from_rows
from echofm_core.data.pseudonym import new_secret, pseudonym, read_secret
from echofm_core.data.readers._dicom import cine_columns
from echofm_core.data.readers._source import (
    integer,
    label,
    positive,
    read_table,
    sex_of,
    usable_file,
    volumes_in_order,
)
from echofm_core.data.readers._splits import most_held_out
from echofm_core.data.readers.mapping import NAME, Mapping, load_mapping
from echofm_core.errors import DataRootError, UnreadableFileError
from echofm_core.tasks import Task

SUFFIXES = (".avi", ".mp4", ".dcm")
LOOSE = "own_files"
#: Ages above it are given as it: those few people could be told by their age.
OLDEST = 90.0
#: A file, the values of its table row by manifest column, and that row's number.
_Entry = tuple[str, dict[str, str], int | None]


class GenericReader:
    """Reads folders with a mapping file."""

    dataset = "generic"
    public = False

    def find(self, root: Path) -> bool:
        """Is there a mapping file at ``root``?"""
        return (root / NAME).is_file()

    def read(self, root: Path) -> tuple[pd.DataFrame, Findings]:
        """Manifest of what the mapping file names."""
        mapping = load_mapping(root)
        return _Reading(root, mapping, read_secret(root / mapping.secret)).run()


def read_loose(place: Path) -> tuple[pd.DataFrame, Findings]:
    """Manifest of files that no mapping describes; ids are good for this one call.

    Args:
        place: A folder, or one file.
    """
    mapping = Mapping(dataset=LOOSE, secret="-")
    root, only = (place, None) if place.is_dir() else (place.parent, place.name)
    return _Reading(root.resolve(), mapping, new_secret(), only).run()


def has_loose_files(place: Path) -> bool:
    """Is there a file, at or below ``place``, that :func:`read_loose` would read?"""
    return place.is_file() or next(_files(place), None) is not None


@dataclass(slots=True, repr=False)
class _Reading:
    """One read: what it needs everywhere."""

    root: Path
    mapping: Mapping
    secret: bytes
    only: str | None = None

    @property
    def dataset(self) -> str:
        return self.mapping.dataset

    def run(self) -> tuple[pd.DataFrame, Findings]:
        findings = Findings()
        rows: list[dict[str, object]] = []
        seen: set[str] = set()
        for relative, values, number in self._entries():
            item = self._id("clip", relative)
            if relative in seen:
                reason = "The file is listed twice; the first row is used."
                findings.add(self.dataset, "duplicate_row", item, reason)
                continue
            seen.add(relative)
            row = self._row(relative, item, values, findings)
            if row is not None:
                rows.append({**row, "source_row": number})
        if self.mapping.table:
            for path in _files(self.root):
                if (relative := path.relative_to(self.root).as_posix()) not in seen:
                    reason = "The file is not in the table, so it has no patient."
                    item = self._id("clip", relative)
                    findings.add(self.dataset, "unlisted_file", item, reason)
        rows = most_held_out(rows, self.dataset, findings)
        return manifest_from_rows(rows), findings

    def _id(self, kind: str, text: str) -> str:
        name = pseudonym(self.secret, f"{self.dataset}/{kind}", text)
        return f"{self.dataset}-{name}" if kind == "clip" else name

    def _entries(self) -> Iterator[_Entry]:
        """Every file with what the table says of it."""
        if self.only is not None:
            yield self.only, {}, None
        elif not self.mapping.table:
            for path in _files(self.root):
                yield path.relative_to(self.root).as_posix(), {}, None
        else:
            columns = self.mapping.columns
            table = read_table(self.root / self.mapping.table, tuple(columns.values()))
            for number, row in enumerate(table.rows):
                values = {ours: row[theirs] for ours, theirs in columns.items()}
                yield values["path"].replace("\\", "/").lstrip("/"), values, number

    def _row(
        self, relative: str, item: str, values: dict[str, str], findings: Findings
    ) -> dict[str, object] | None:
        path = usable_file(self.root, relative, self.dataset, findings, item)
        if path is None:
            return None
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES:
            reason = f"The file is none of {', '.join(SUFFIXES)}."
            findings.add(self.dataset, "stray_file", item, reason)
            return None
        columns: dict[str, object] | None = {"dataset": self.dataset, "path": str(path)}
        if suffix == ".dcm":
            columns = cine_columns(path, self.dataset, item, findings)
        if columns is None:
            return None
        try:
            patient, study, person = self._who(path, relative, item, values, findings)
        except UnreadableFileError as error:
            findings.add(self.dataset, "undecodable", item, str(error))
            return None
        return {
            **columns,
            **person,
            "clip_id": item,
            "patient_id": self._id("patient", patient),
            "study_id": self._id("study", study),
            **self._labels(item, values, findings),
            **({"fps": fps} if (fps := positive(values.get("fps"))) is not None else {}),
        }

    def _who(
        self, path: Path, relative: str, item: str, values: dict[str, str], findings: Findings
    ) -> tuple[str, str, dict[str, object]]:
        """Patient and study, not yet hashed, and sex and age."""
        folder = path.parent.relative_to(self.root.resolve()).as_posix()
        person: dict[str, object] = {"sex": sex_of(values.get("sex")), "age": values.get("age")}
        patient, study = values.get("patient_id", ""), values.get("study_id", "")
        if path.suffix.lower() == ".dcm" and not self.mapping.table:
            identity = read_identity(path)
            patient, study = identity.patient, identity.study
            person = {"sex": sex_of(identity.sex), "age": identity.age}
        if self.mapping.patient:
            match = re.search(self.mapping.patient, relative)
            patient = match["patient"] if match else ""
        if not patient:
            patient = folder
            reason = "Nothing says who was examined; the files of its folder are one patient."
            findings.add(self.dataset, "no_patient", item, reason, Severity.REPAIRED)
        age = positive(str(person["age"] or ""))
        person["age"] = None if age is None else min(age, OLDEST)
        return patient, study or f"{patient}/{folder}", person

    def _labels(self, item: str, values: dict[str, str], findings: Findings) -> dict[str, object]:
        labels = {
            task.value: label(values.get(task.value), task, self.dataset, item, findings)
            for task in (Task.EF, Task.EDV, Task.ESV)
        }
        grade = label(values.get("as_grade"), Task.AS_GRADE, self.dataset, item, findings)
        return {
            **volumes_in_order(labels, self.dataset, item, findings),
            "as_grade": integer(str(grade)),
            "quality": values.get("quality") or None,
            "view": self._word("view", self.mapping.views, values, item, findings),
            "split": self._word("split", self.mapping.splits, values, item, findings),
        }

    def _word(
        self,
        column: str,
        words: dict[str, list[str]],
        values: dict[str, str],
        item: str,
        findings: Findings,
    ) -> str | None:
        """Our word for the table's; a word that the mapping does not know is noted."""
        written = values.get(column, "").strip().lower()
        if not written:
            return None
        for ours, theirs in words.items():
            if written in [word.strip().lower() for word in (ours, *theirs)]:
                return ours
        reason = f"The mapping has no entry for this word of `{column}`; it is left empty."
        findings.add(self.dataset, f"unknown_{column}", item, reason, Severity.REPAIRED)
        return None


def _files(root: Path) -> Iterator[Path]:
    if not root.is_dir():
        raise DataRootError(f"data root {root} does not exist or is not a folder.")
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            yield path
