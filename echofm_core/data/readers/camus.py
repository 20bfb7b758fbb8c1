"""CAMUS (Saint-Etienne), NIfTI release: apical two- and four-chamber half cycles with EF.

Layout: ``database_nifti/patientNNNN/`` with one ``Info_*.cfg`` and one ``*_half_sequence.nii.gz``
a view, and the official split in ``database_split/``. Source: Leclerc 2019.

The settings of this release give EF for the patient and no volumes, so EDV and ESV are null.
Frames are served from end-diastole to end-systole: where the settings say the reverse, decoding
turns them round.
"""

import re
from pathlib import Path

import pandas as pd

from echofm_core.data.findings import Findings, Severity
from echofm_core.data.formats.nifti import read_settings, read_text, sequence_shape, systole_first
from echofm_core.data.manifest import Split, manifest_from_rows
from echofm_core.data.readers._source import (
    frame_rate,
    label,
    number,
    positive,
    sex_of,
    usable_file,
    volumes_in_order,
)
from echofm_core.runtime.errors import UnreadableFileError
from echofm_core.tasks import Task

VIEWS = {"2CH": "A2C", "4CH": "A4C"}
SPLIT_FILES = {
    "subgroup_training.txt": Split.TRAIN,
    "subgroup_validation.txt": Split.VALIDATION,
    "subgroup_testing.txt": Split.TEST,
}
#: Settings that give a label: in this release, and in the earlier one.
LABEL_KEYS = {Task.EF: ("EF", "LVef"), Task.EDV: ("LVedv",), Task.ESV: ("LVesv",)}
_PATIENT = re.compile(r"patient\d+")


class CamusReader:
    """Reads the release as downloaded, both views."""

    dataset = "camus"
    public = True

    def find(self, root: Path) -> bool:
        """Is this layout at ``root``?"""
        return (root / "database_nifti").is_dir()

    def read(self, root: Path) -> tuple[pd.DataFrame, Findings]:
        """Manifest of the sequences that are there."""
        findings = Findings()
        splits = self._splits(root, findings)
        database = root / "database_nifti"
        folders = sorted(item for item in database.iterdir() if _PATIENT.fullmatch(item.name))
        rows: list[dict[str, object]] = []
        for position, folder in enumerate(folders):
            if folder.name not in splits and splits:
                reason = "The patient is in no split file; the clips are used without a split."
                findings.add(self.dataset, "not_in_split", folder.name, reason, Severity.REPAIRED)
            for chamber in VIEWS:
                row = self._row(root, folder, chamber, findings)
                if row is not None:
                    split = splits.get(folder.name)
                    rows.append({**row, "split": split, "source_row": position})
        names = {folder.name for folder in folders}
        for patient in sorted(set(splits) - names):
            reason = "The patient is in a split file and has no folder."
            findings.add(self.dataset, "missing_file", f"database_nifti/{patient}", reason)
        return manifest_from_rows(rows), findings

    def _splits(self, root: Path, findings: Findings) -> dict[str, Split]:
        """Official split by patient; a patient in two lists goes to the later, held-out one."""
        splits: dict[str, Split] = {}
        for name, split in SPLIT_FILES.items():
            file = root / "database_split" / name
            if not file.is_file():
                reason = "The split list is missing; its patients have no official split."
                findings.add(self.dataset, "no_split_file", name, reason, Severity.REPAIRED)
                continue
            for patient in parse_split(read_text(file)):
                if patient in splits:
                    reason = f"The patient is in two split lists; taken as {split.value}."
                    findings.add(
                        self.dataset, "patient_in_two_splits", patient, reason, Severity.REPAIRED
                    )
                splits[patient] = split
        return splits

    def _row(
        self, root: Path, folder: Path, chamber: str, findings: Findings
    ) -> dict[str, object] | None:
        clip_id = f"{folder.name}_{chamber}"
        item = f"database_nifti/{folder.name}/{clip_id}_half_sequence.nii.gz"
        path = next(
            (
                file
                for suffix in (".nii.gz", ".nii")
                if (file := folder / f"{clip_id}_half_sequence{suffix}").is_file()
            ),
            None,
        )
        if path is None:
            findings.add(self.dataset, "missing_file", item, "The view has no sequence.")
            return None
        path = usable_file(root, path.relative_to(root).as_posix(), self.dataset, findings, item)
        if path is None:
            return None
        try:
            n_frames, height, width = sequence_shape(path)
        except UnreadableFileError as error:
            findings.add(self.dataset, "undecodable", item, str(error))
            return None
        return {
            "dataset": self.dataset,
            "patient_id": folder.name,
            "study_id": folder.name,
            "clip_id": clip_id,
            "path": str(path),
            "view": VIEWS[chamber],
            "n_frames": n_frames,
            "height": height,
            "width": width,
            **settings_columns(
                folder / f"Info_{chamber}.cfg", self.dataset, item, n_frames, findings
            ),
        }


def settings_columns(
    file: Path, dataset: str, item: str, n_frames: int, findings: Findings
) -> dict[str, object]:
    """Frame rate, quality, person and labels of one view, from its ``Info_*.cfg``.

    What contradicts itself or the ``n_frames`` that are there is noted.
    """
    try:
        settings = read_settings(file)
    except OSError:
        reason = f"{file.name} is missing; the clip is used without labels."
        findings.add(dataset, "no_settings", item, reason, Severity.REPAIRED)
        return {}
    if systole_first(settings):
        reason = "End-systole comes before end-diastole; the frames are turned round."
        findings.add(dataset, "es_before_ed", item, reason, Severity.REPAIRED)
    declared = number(settings.get("NbFrame"))
    if declared is not None and declared != n_frames:
        reason = f"{file.name} says {declared:g} frames, the sequence holds {n_frames}."
        findings.add(dataset, "frame_count", item, reason, Severity.REPAIRED)
    labels = {
        task.value: label(_either(settings, keys), task, dataset, item, findings)
        for task, keys in LABEL_KEYS.items()
    }
    return {
        "fps": frame_rate(settings.get("FrameRate")),
        "quality": settings.get("ImageQuality") or None,
        "sex": sex_of(settings.get("Sex")),
        "age": positive(settings.get("Age")),
        **volumes_in_order(labels, dataset, item, findings),
    }


def _either(settings: dict[str, str], keys: tuple[str, ...]) -> str | None:
    return next((settings[key] for key in keys if key in settings), None)


def parse_split(text: str) -> list[str]:
    """Patient ids of a split list, one a line; blank lines and others are ignored."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if _PATIENT.fullmatch(line)]
