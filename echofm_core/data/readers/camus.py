"""CAMUS (Saint-Etienne), NIfTI release: apical two- and four-chamber half cycles with EF.

Layout: ``database_nifti/patientNNNN/`` with one ``Info_*.cfg`` and one ``*_half_sequence.nii.gz``
a view, and the official split in ``database_split/``. Source: Leclerc 2019.

The settings of this release give EF for the patient and no volumes, so EDV and ESV are null.
Frames are served from end-diastole to end-systole: where the settings say the reverse, decoding
turns them round.
"""

import re
from collections.abc import Iterator

from echofm_core.data.formats.nifti import read_header, read_settings, read_text, systole_first
from echofm_core.data.manifest import Split
from echofm_core.data.readers._api import Reader
from echofm_core.data.readers._source import Row, Source, frame_rate, number, positive, sex_of
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


class CamusReader(Reader):
    """Reads the release as downloaded, both views."""

    dataset = "camus"
    layouts = (("database_nifti/",),)

    def rows(self, source: Source) -> Iterator[Row]:
        """The sequences that are there."""
        splits = _splits(source)
        database = source.root / "database_nifti"
        names = sorted(item.name for item in database.iterdir() if _PATIENT.fullmatch(item.name))
        for position, name in enumerate(names):
            if name not in splits and splits:
                reason = "The patient is in no split file; the clips are used without a split."
                source.repaired("not_in_split", name, reason)
            for chamber, view in VIEWS.items():
                if (columns := _sequence(source, name, chamber)) is not None:
                    more: Row = {"view": view, "split": splits.get(name), "source_row": position}
                    yield source.row(name, f"{name}_{chamber}", **columns, **more)
        for patient in sorted(set(splits) - set(names)):
            reason = "The patient is in a split file and has no folder."
            source.quarantined("missing_file", f"database_nifti/{patient}", reason)


def _splits(source: Source) -> dict[str, Split]:
    """Official split by patient; a patient in two lists goes to the later, held-out one."""
    splits: dict[str, Split] = {}
    for name, split in SPLIT_FILES.items():
        file = source.root / "database_split" / name
        if not file.is_file():
            reason = "The split list is missing; its patients have no official split."
            source.repaired("no_split_file", name, reason)
            continue
        for patient in parse_split(read_text(file)):
            if patient in splits:
                reason = f"The patient is in two split lists; taken as {split.value}."
                source.repaired("patient_in_two_splits", patient, reason)
            splits[patient] = split
    return splits


def _sequence(source: Source, patient: str, chamber: str) -> Row | None:
    folder = f"database_nifti/{patient}"
    item = f"{folder}/{patient}_{chamber}_half_sequence.nii.gz"
    unpacked = item.removesuffix(".gz")
    if (source.root / unpacked).is_file() and not (source.root / item).is_file():
        item = unpacked
    columns = source.sequence(item, read_header)
    return columns and with_settings(columns, f"{folder}/Info_{chamber}.cfg", source, item)


def with_settings(columns: Row, settings_file: str, source: Source, item: str) -> Row:
    """A sequence's columns with frame rate, quality, person and labels of its ``Info_*.cfg``.

    What contradicts itself or the ``n_frames`` that are there is noted.
    """
    file = source.root / settings_file
    try:
        settings = read_settings(file)
    except OSError:
        reason = f"{file.name} is missing; the clip is used without labels."
        source.repaired("no_settings", item, reason)
        return columns
    if systole_first(settings):
        reason = "End-systole comes before end-diastole; the frames are turned round."
        source.repaired("es_before_ed", item, reason)
    declared = number(settings.get("NbFrame"))
    if declared is not None and declared != columns["n_frames"]:
        there = columns["n_frames"]
        reason = f"{file.name} says {declared:g} frames, the sequence holds {there}."
        source.repaired("frame_count", item, reason)
    texts = {
        task: next((settings[key] for key in keys if key in settings), None)
        for task, keys in LABEL_KEYS.items()
    }
    return {
        **columns,
        "fps": frame_rate(settings.get("FrameRate")),
        "quality": settings.get("ImageQuality") or None,
        "sex": sex_of(settings.get("Sex")),
        "age": positive(settings.get("Age")),
        **source.labels(texts, item),
    }


def parse_split(text: str) -> list[str]:
    """Patient ids of a split list, one a line; blank lines and others are ignored."""
    return [line for line in map(str.strip, text.splitlines()) if _PATIENT.fullmatch(line)]
