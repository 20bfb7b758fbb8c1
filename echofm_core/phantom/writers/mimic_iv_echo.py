"""MIMIC-IV-ECHO 1.0 as downloaded: DICOM cines of two machines, their exams, one real cine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from echofm_core.phantom.heart import Heart, draw_heart
from echofm_core.phantom.overlay import burn_in, colour_flow
from echofm_core.phantom.patients import Exam, Institution, examine, write_table
from echofm_core.phantom.scanners import MIMIC
from echofm_core.phantom.views import View
from echofm_core.phantom.writers import dicom
from echofm_core.phantom.writers.mimic_exams import STUDIES, TABLE, Exams
from echofm_core.runtime.console import Meter

EF_MEAN, EF_SD = 54.0, 13.0
#: Frames of a cine, and cines of a study.
FRAMES, CINES = 44, 2
VIEWS = (View.A4C, View.PLAX, View.PSAX_LV, View.A2C, View.PSAX)
#: Oddities that are nothing wrong.
SOUND = ("uncompressed", "rle_palette")
#: First patient and study; those with planted oddities; those of the real cine.
FIRST, PLANTED, REAL = (10000000, 90000000), (15000000, 95000000), (19999999, 99999999)


@dataclass(slots=True)
class _Archive:
    """The tree on disk, its record list and its exams."""

    root: Path
    records: list[dict[str, object]] = field(default_factory=list)
    exams: Exams = field(default_factory=Exams)

    def new(self, subject: int, study: int) -> tuple[Path, str]:
        """Path of a study's next file, absolute and as the record list has it."""
        number = 1 + sum(row["study_id"] == study for row in self.records)
        relative = f"files/p{str(subject)[:2]}/p{subject}/s{study}/{study}_{number:04d}.dcm"
        self.records.append(
            {
                "subject_id": subject,
                "study_id": study,
                "acquisition_datetime": _date(subject, number),
                "dicom_filepath": relative,
            }
        )
        path = self.root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        return path, relative

    def close(self) -> None:
        """Write the tables and the checksums."""
        write_table(self.root / "echo-record-list.csv", self.records)
        write_table(self.root / STUDIES, self.exams.studies)
        self.exams.close(self.root)
        sums = "".join(
            f"{hashlib.sha256(path.read_bytes()).hexdigest()} "
            f"{path.relative_to(self.root).as_posix()}\n"
            for path in sorted(self.root.rglob("*"))
            if path.is_file()
        )
        (self.root / "SHA256SUMS.txt").write_text(sums, encoding="utf-8")


def _date(subject: int, number: int) -> str:
    """A time in the future of that patient alone, as the publisher shifts them."""
    return f"{2110 + subject % 80}-{1 + subject % 12:02d}-{1 + subject % 28:02d} 10:{number:02d}:00"


def write(folder: Path, patients: int, seed: int, errors: bool, meter: Meter | None) -> Path:
    """Write ``mimic-iv-echo/1.0`` with its truth and planted errors; returns the root."""
    root = folder / "mimic-iv-echo" / "1.0"
    place, archive = Institution("mimic_iv_echo", seed), _Archive(root)
    for patient in range(patients):
        rng = place.rng(patient, "patient")
        heart, machine = draw_heart(rng, EF_MEAN, EF_SD), patient % len(MIMIC)
        for number in range(CINES):
            view = VIEWS[(patient + number) % len(VIEWS)]
            exam = examine(heart, view, MIMIC[machine], FRAMES, rng)
            path, _ = archive.new(FIRST[0] + patient, FIRST[1] + patient)
            _save(path, exam, machine, seed)
            model = dicom.DEVICES[machine][1]
            place.truth.append({**exam.truth(path.stem), "model": model})
        _examine(archive, FIRST[0] + patient, FIRST[1] + patient, heart)
        if meter:
            meter.advance()
    _add_real_cine(archive, place)
    if errors and patients:
        _plant(archive, place, seed)
        archive.records[0]["dicom_filepath"] = f"/{archive.records[0]['dicom_filepath']}"
    archive.close()
    return place.close(root)


def _examine(archive: _Archive, subject: int, study: int, heart: Heart) -> None:
    when = _date(subject, 0)
    exam = archive.exams.list_study(subject, study, when)
    archive.exams.measure(subject, exam, when, heart)


def _save(path: Path, exam: Exam, machine: int, seed: int) -> None:
    clip = exam.clip
    header = dicom.cine_header(
        exam.scanner, machine, len(clip.frames), exam.heart.rate, f"{seed} {path.name}"
    )
    dicom.save_jpeg(path, header, burn_in(clip.frames, clip.phases, exam.scanner, machine))


def _add_real_cine(archive: _Archive, place: Institution) -> None:
    """The REAL apical cine of the pydicom package (MIT): one more clip; nothing was measured."""
    source = Path(str(pydicom.examples.get_path("ybr_color")))
    path, item = archive.new(*REAL)
    path.write_bytes(source.read_bytes())
    archive.exams.list_study(*REAL, _date(REAL[0], 0), examined=False)
    place.truth.append({"clip": path.stem, "real": True})
    place.plant("no_region", item)  # the file's own: its region was declared for a larger picture


def _plant(archive: _Archive, place: Institution, seed: int) -> None:
    """Stills, Doppler, odd encodings and damage, as archives hold them."""
    rng, scanner = place.rng(0, "planted"), MIMIC[0]
    exam = examine(draw_heart(rng, EF_MEAN, EF_SD), View.A4C, scanner, 20, rng)
    frames = exam.clip.frames
    colour = burn_in(frames, exam.clip.phases, scanner, 0)

    def headers() -> Iterator[tuple[str, Path, Dataset]]:
        kinds = (
            "still",
            "spectral",
            "colour_doppler",
            "contrast",
            "no_region",
            "no_timing",
            *SOUND,
        )
        for kind in kinds:
            path, item = archive.new(*PLANTED)
            if kind not in SOUND:
                place.plant(kind, item)
            identity = f"{seed} {path.name}"
            yield kind, path, dicom.cine_header(scanner, 0, len(frames), 70, identity)

    for kind, path, header in headers():
        match kind:
            case "still":
                dicom.as_still(header)
                dicom.save_jpeg(path, header, colour[:1])
            case "spectral":
                dicom.as_still(header)
                header.SequenceOfUltrasoundRegions = Sequence(
                    [dicom.region(scanner, dicom.SPECTRUM)]
                )
                dicom.save_jpeg(path, header, colour[:1])
            case "colour_doppler":
                header.UltrasoundColorDataPresent = 1
                header.SequenceOfUltrasoundRegions = Sequence(
                    [dicom.region(scanner, dicom.COLOUR_FLOW)]
                )
                flow = colour_flow(colour, exam.clip.phases, scanner)
                dicom.save_jpeg(path, header, flow)
            case "contrast":
                header.ContrastBolusAgent = "DEFINITY"
                dicom.save_jpeg(path, header, colour)
            case "no_region":
                del header.SequenceOfUltrasoundRegions
                dicom.save_jpeg(path, header, colour)
            case "no_timing":
                dicom.without_timing(header)
                # Another length: the same picture under two names would be one more error.
                header.NumberOfFrames = str(len(frames) - 1)
                dicom.save_jpeg(path, header, colour[1:])
            case "uncompressed":
                dicom.save_grey(path, header, frames)
            case "rle_palette":
                # Backwards, for the same reason.
                dicom.save_palette(path, header, frames[::-1])
    path, item = archive.new(*PLANTED)
    path.write_bytes(b"\0" * 128 + b"DICM" + bytes(range(256)))
    place.plant("undecodable", item)
    subject, when = PLANTED[0], _date(PLANTED[0], 0)
    number = archive.exams.list_study(*PLANTED, when)
    for kind in archive.exams.plant(subject, number, when):
        place.plant(kind, TABLE)
