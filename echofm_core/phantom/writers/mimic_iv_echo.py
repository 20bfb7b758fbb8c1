"""MIMIC-IV-ECHO 1.0 as downloaded: DICOM cines of two machines, their exams, one real cine."""

import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from echofm_core.phantom.heart import Floats, draw_heart
from echofm_core.phantom.overlay import Colour, burn_in, colour_flow
from echofm_core.phantom.patients import Institution, Rows, as_row, examine, write_table
from echofm_core.phantom.scanners import MIMIC
from echofm_core.phantom.views import View
from echofm_core.phantom.writers import dicom
from echofm_core.phantom.writers.mimic_exams import TABLE, Exams

EF_MEAN, EF_SD = 54.0, 13.0
#: Frames of a cine, and cines of a study.
FRAMES, CINES = 44, 2
VIEWS = (View.A4C, View.PLAX, View.PSAX_LV, View.A2C, View.PSAX)
RECORDS = ("subject_id", "study_id", "acquisition_datetime", "dicom_filepath")
#: Oddities that a reader finds, and those that are nothing wrong.
ODD = ("still", "spectral", "colour_doppler", "contrast", "no_region", "no_timing")
SOUND = ("uncompressed", "rle_palette")
#: First patient and study; those with planted oddities; those of the real cine.
FIRST, PLANTED, REAL = (10000000, 90000000), (15000000, 95000000), (19999999, 99999999)


@dataclass(slots=True)
class _Archive:
    """The tree on disk, its record list and its exams."""

    site: Institution
    records: Rows = field(default_factory=list)
    exams: Exams = field(default_factory=Exams)

    def new(self, subject: int, study: int) -> tuple[Path, str]:
        """Path of a study's next file, absolute and as the record list has it."""
        number = 1 + sum(row["study_id"] == study for row in self.records)
        relative = f"files/p{str(subject)[:2]}/p{subject}/s{study}/{study}_{number:04d}.dcm"
        self.records.append(as_row(RECORDS, subject, study, _date(subject, number), relative))
        path = self.site.root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        return path, relative

    def close(self) -> None:
        """Write the tables and the checksums."""
        root, sums = self.site.root, ""
        write_table(root / "echo-record-list.csv", self.records)
        self.exams.close(root)
        for path in sorted(root.rglob("*")):
            if path.is_file():
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                sums += f"{digest} {path.relative_to(root).as_posix()}\n"
        (root / "SHA256SUMS.txt").write_text(sums, encoding="utf-8")


def _date(subject: int, number: int) -> str:
    """A time in the future of that patient alone, as the publisher shifts them."""
    return f"{2110 + subject % 80}-{1 + subject % 12:02d}-{1 + subject % 28:02d} 10:{number:02d}:00"


def write(site: Institution) -> None:
    """Write ``mimic-iv-echo/1.0``."""
    archive = _Archive(site)
    for patient, rng in site.each():
        heart, machine = draw_heart(rng, EF_MEAN, EF_SD), patient % len(MIMIC)
        for number in range(CINES):
            view = VIEWS[(patient + number) % len(VIEWS)]
            exam = examine(heart, view, MIMIC[machine], FRAMES, rng)
            path, _ = archive.new(FIRST[0] + patient, FIRST[1] + patient)
            header = dicom.exam_header(exam, machine, f"{site.seed} {path.name}")
            dicom.save_exam(path, header, exam, machine)
            site.truth.append({**exam.truth(path.stem), "model": dicom.DEVICES[machine][1]})
        subject, when = FIRST[0] + patient, _date(FIRST[0] + patient, 0)
        number = archive.exams.list_study(subject, FIRST[1] + patient, when)
        archive.exams.measure(subject, number, when, heart)
    _add_real_cine(archive)
    if site.errors:
        _plant(archive)
        archive.records[0]["dicom_filepath"] = f"/{archive.records[0]['dicom_filepath']}"
    archive.close()


def _add_real_cine(archive: _Archive) -> None:
    """The REAL apical cine of the pydicom package (MIT): one more clip; nothing was measured."""
    path, item = archive.new(*REAL)
    shutil.copyfile(str(pydicom.examples.get_path("ybr_color")), path)
    archive.exams.list_study(*REAL, _date(REAL[0], 0), examined=False)
    archive.site.truth.append({"clip": path.stem, "real": True})
    archive.site.plant(
        "no_region", item
    )  # the file's own: its region was declared for a larger picture


def _plant(archive: _Archive) -> None:
    """Stills, Doppler, odd encodings and damage, as archives hold them."""
    site, scanner = archive.site, MIMIC[0]
    rng = site.rng(0, "planted")
    exam = examine(draw_heart(rng, EF_MEAN, EF_SD), View.A4C, scanner, 20, rng)
    frames = exam.clip.frames
    colour = burn_in(frames, exam.clip.phases, scanner, 0)
    for kind in (*ODD, *SOUND):
        path, item = archive.new(*PLANTED)
        if kind not in SOUND:
            site.plant(kind, item)
        header = dicom.cine_header(scanner, 0, len(frames), 70, f"{site.seed} {path.name}")
        if kind == "uncompressed":
            dicom.save_grey(path, header, frames)
        elif kind == "rle_palette":
            # Backwards: the same picture under two names would be one more error.
            dicom.save_palette(path, header, frames[::-1])
        else:
            dicom.save_jpeg(path, header, _spoilt(kind, header, colour, exam.clip.phases))
    path, item = archive.new(*PLANTED)
    path.write_bytes(dicom.NO_DICOM)
    site.plant("undecodable", item)
    subject, when = PLANTED[0], _date(PLANTED[0], 0)
    number = archive.exams.list_study(*PLANTED, when)
    for kind in archive.exams.plant(subject, number, when):
        site.plant(kind, TABLE)


def _spoilt(kind: str, header: Dataset, colour: Colour, phases: Floats) -> Colour:
    """Change a header to one of the kinds :data:`ODD`; returns the frames that go with it."""
    scanner = MIMIC[0]
    match kind:
        case "still":
            dicom.as_still(header)
            return colour[:1]
        case "spectral":
            dicom.as_still(header)
            header.SequenceOfUltrasoundRegions = [dicom.region(scanner, dicom.SPECTRUM)]
            return colour[:1]
        case "colour_doppler":
            header.UltrasoundColorDataPresent = 1
            header.SequenceOfUltrasoundRegions = [dicom.region(scanner, dicom.COLOUR_FLOW)]
            return colour_flow(colour, phases, scanner)
        case "contrast":
            header.ContrastBolusAgent = "DEFINITY"
        case "no_region":
            del header.SequenceOfUltrasoundRegions
        case "no_timing":
            dicom.without_timing(header)
            # Another length: the same picture under two names would be one more error.
            header.NumberOfFrames = str(len(colour) - 1)
            return colour[1:]
    return colour
