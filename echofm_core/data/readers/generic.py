"""An institution's own AVI, MP4 and DICOM files, by a mapping file or just as they lie.

Layout: ``echofm.toml`` (see :mod:`echofm_core.data.readers.mapping`) above the files. Every id is a
keyed hash with the institution's secret, and findings name files by such an id too: names and
folders of a hospital's files may tell who was examined.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from echofm_core.data.dicom.header import ObjectKind
from echofm_core.data.dicom.identity import Identity, read_identity
from echofm_core.data.file_kinds import CINES, CINES_NAMED, Kind, kind_of
from echofm_core.data.findings import Findings, Severity
from echofm_core.data.formats.video_probe import Probe, probe_video
from echofm_core.data.manifest import Split, manifest_from_rows
from echofm_core.data.patients import new_secret, pseudonym, read_secret
from echofm_core.data.readers._dicom import DIED, Look, cine_columns, look
from echofm_core.data.readers._files import files_below, over_files
from echofm_core.data.readers._source import (
    Refusal,
    file_at,
    frame_rate,
    integer,
    label,
    positive,
    sex_of,
    volumes_in_order,
)
from echofm_core.data.readers._splits import most_held_out
from echofm_core.data.readers.mapping import NAME, Mapping, load_mapping
from echofm_core.data.readers.own_table import Entry, read_entries
from echofm_core.runtime.errors import UnreadableFileError
from echofm_core.tasks import VIEWS, Task

LOOSE = "own_files"
#: Ages above it are given as it: those few people could be told by their age.
OLDEST = 90.0


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
    return place.is_file() or any(
        kind_of(f"{folder}{os.sep}{name}") in CINES
        for folder, _, names in os.walk(place)
        for name in names
    )


class _Seen(NamedTuple):
    """A file that is there; what its header says where it is DICOM, what is seen of a video."""

    path: str
    header: Look | None = None
    sight: Probe | None = None
    identity: Identity | None = None


def _see(relative: str, root: Path, identify: bool) -> _Seen | Refusal:
    """Open one file, where it is DICOM, for its header and maybe for who was examined."""
    path = file_at(root, relative)
    if isinstance(path, Refusal):
        return path
    kind = kind_of(path)
    if kind not in CINES:
        return Refusal("stray_file", f"The file is none of {CINES_NAMED}.")
    if kind is not Kind.DICOM:
        try:
            return _Seen(str(path), sight=probe_video(path))
        except UnreadableFileError as error:
            return Refusal(error.kind, str(error))
    header = look(relative, root)
    if isinstance(header, Refusal):
        return header
    identify = identify and header.header.kind is ObjectKind.CINE
    try:
        return _Seen(str(path), header, identity=read_identity(path) if identify else None)
    except UnreadableFileError as error:
        return Refusal("undecodable", str(error))


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
        entries = self._entries(findings)
        see = partial(_see, root=self.root, identify=not self.mapping.table)
        files = [entry.relative for entry in entries]
        named = {*files, *(() if self.only else files_below(self.root, CINES))}
        findings.places = {self._id("clip", name): str(self.root / name) for name in named}
        seen = over_files(see, files, "reading headers", DIED)
        rows: list[dict[str, object]] = []
        for entry, found in zip(entries, seen, strict=True):
            row = self._row(entry.relative, found, entry.values, findings)
            if row is not None:
                rows.append({**row, "source_row": entry.row})
        rows = most_held_out(rows, self.dataset, findings)
        return manifest_from_rows(rows), findings

    def _id(self, kind: str, text: str) -> str:
        name = pseudonym(self.secret, f"{self.dataset}/{kind}", text)
        return f"{self.dataset}-{name}" if kind == "clip" else name

    def _entries(self, findings: Findings) -> list[Entry]:
        """Every file with what the table says of it."""
        if self.only is not None:
            return [Entry(self.only, {})]
        there = files_below(self.root, CINES)
        if not self.mapping.table:
            return [Entry(relative, {}) for relative in there]
        return read_entries(self.root, self.mapping, there, partial(self._id, "clip"), findings)

    def _row(
        self, relative: str, found: _Seen | Refusal, values: dict[str, str], findings: Findings
    ) -> dict[str, object] | None:
        item = self._id("clip", relative)
        if isinstance(found, Refusal):
            findings.add(self.dataset, found.kind, item, found.reason)
            return None
        columns: dict[str, object] | None
        columns = {"dataset": self.dataset, "path": found.path}
        if found.sight is not None:
            _, frames, height, width, fps, _ = found.sight
            columns |= {"n_frames": frames, "fps": fps, "height": height, "width": width}
        if found.header is not None:
            columns = cine_columns(found.header, self.dataset, item, findings)
        if columns is None:
            return None
        patient, study, person = self._who(relative, found, item, values, findings)
        return {
            **columns,
            **person,
            "clip_id": item,
            "patient_id": self._id("patient", patient),
            "study_id": self._id("study", study),
            **self._labels(item, values, findings),
            **({"fps": fps} if (fps := frame_rate(values.get("fps"))) is not None else {}),
        }

    def _who(
        self, relative: str, found: _Seen, item: str, values: dict[str, str], findings: Findings
    ) -> tuple[str, str, dict[str, object]]:
        """Patient and study, not yet hashed, and sex and age."""
        folder = Path(found.path).parent.relative_to(self.root.resolve()).as_posix()
        person: dict[str, object] = {"sex": sex_of(values.get("sex")), "age": values.get("age")}
        patient, study = values.get("patient_id", ""), values.get("study_id", "")
        if (identity := found.identity) is not None:
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
            task.value: label(
                values.get(task.value), task, self.dataset, item, findings,
                in_unit=self.mapping.units.ef is not None,
            )
            for task in (Task.EF, Task.EDV, Task.ESV)
        }  # fmt: skip
        grade = label(values.get("as_grade"), Task.AS_GRADE, self.dataset, item, findings)
        return {
            **volumes_in_order(labels, self.dataset, item, findings),
            "as_grade": integer(str(grade)),
            "quality": values.get("quality") or None,
            "view": self._word("view", VIEWS, self.mapping.views, values, item, findings),
            "split": self._word("split", list(Split), self.mapping.splits, values, item, findings),
        }

    def _word(
        self,
        column: str,
        legal: Sequence[str],
        words: dict[str, list[str]],
        values: dict[str, str],
        item: str,
        findings: Findings,
    ) -> str | None:
        """Our word for the table's; a word that the mapping does not know is noted."""
        written = values.get(column, "").strip().lower()
        if not written:
            return None
        for ours in legal:
            if written in [word.strip().lower() for word in (ours, *words.get(ours, ()))]:
                return str(ours)
        reason = f"The mapping has no entry for this word of `{column}`; it is left empty."
        findings.add(self.dataset, f"unknown_{column}", item, reason, Severity.REPAIRED)
        return None
