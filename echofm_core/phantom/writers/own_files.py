"""A hospital's own files: DICOM with people's names in the headers, AVI, a table, a mapping."""

import hashlib

from echofm_core.data.patients import pseudonym
from echofm_core.phantom.heart import draw_heart
from echofm_core.phantom.patients import Exam, Institution, Row, Rows, as_row, examine, write_table
from echofm_core.phantom.scanners import MIMIC
from echofm_core.phantom.views import View
from echofm_core.phantom.writers import dicom
from echofm_core.phantom.writers.files import NO_VIDEO, write_avi

DATASET = "phantom_infirmary"
EF_MEAN, EF_SD = 52.0, 13.0
FRAMES = 40
COLUMNS = ("File", "MRN", "Visit", "View", "EF (%)", "Sex", "Age")
MAPPING = f"""# How this folder becomes a manifest.
dataset = "{DATASET}"
secret = "site.secret"
table = "export.csv"

[columns]
path = "File"
patient_id = "MRN"
study_id = "Visit"
view = "View"
ef = "EF (%)"
sex = "Sex"
age = "Age"

[views]
A4C = ["4ch", "apical four"]
PLAX = ["long axis"]
"""


def write(site: Institution) -> None:
    """Write ``hospital-export/``. People, names and numbers are invented."""
    (site.root / "cines").mkdir(parents=True)
    secret = hashlib.sha256(f"phantom {site.seed}".encode()).digest()
    (site.root / "site.secret").write_text(secret.hex() + "\n", encoding="ascii")
    (site.root / "echofm.toml").write_text(MAPPING, encoding="utf-8")
    rows: Rows = []
    for patient, rng in site.each():
        machine = patient % len(MIMIC)
        exam = examine(draw_heart(rng, EF_MEAN, EF_SD), View.A4C, MIMIC[machine], FRAMES, rng)
        rows.append(_add(site, patient, exam, machine))
        site.truth.append(exam.truth(_clip(secret, str(rows[-1]["File"]))))
    if site.errors:
        _plant(site, rows, secret)
    write_table(site.root / "export.csv", rows)


def _clip(secret: bytes, relative: str) -> str:
    """Findings name a hospital's file by its hash alone."""
    return f"{DATASET}-{pseudonym(secret, f'{DATASET}/clip', relative)}"


def _add(site: Institution, patient: int, exam: Exam, machine: int) -> Row:
    """Write a DICOM cine, for every third patient an AVI; returns its row."""
    video = patient % 3 == 2
    relative = f"cines/{patient:04d}.{'avi' if video else 'dcm'}"
    header = dicom.exam_header(exam, machine, f"{site.seed} own {patient}")
    dicom.identify(header, patient)
    if video:
        write_avi(site.root / relative, exam.clip.frames, exam.scanner.fps)
    else:
        dicom.save_exam(site.root / relative, header, exam, machine)
    view, age = ("4CH", "Apical Four")[patient % 2], int(str(header.PatientAge)[:3])
    ids = (relative, header.PatientID, header.AccessionNumber)
    return as_row(COLUMNS, *ids, view, f"{exam.heart.ef:.2f}", header.PatientSex, age)


def _plant(site: Institution, rows: Rows, secret: bytes) -> None:
    """A word and a label that are not known, and files that are amiss."""
    rng = site.rng(0, "planted")
    template, heart = dict(rows[0]), draw_heart(rng, EF_MEAN, EF_SD)
    kinds = ("unknown_view", "label_out_of_range", "missing_file", "empty_file", "undecodable",
             "stray_file", "unlisted_file")  # fmt: skip
    for number, kind in enumerate(kinds):
        relative = f"cines/9{number:03d}.{'bmp' if kind == 'stray_file' else 'avi'}"
        row = {**template, "File": relative, "MRN": f"MRN-99{number:05d}", "Visit": f"V{number}"}
        path = site.root / relative
        if kind in ("empty_file", "undecodable", "stray_file"):
            path.write_bytes(b"" if kind == "empty_file" else NO_VIDEO)
        elif kind != "missing_file":
            exam = examine(heart, View.A4C, MIMIC[0], FRAMES, rng)
            write_avi(path, exam.clip.frames, MIMIC[0].fps)
        if kind == "unknown_view":
            row["View"] = "from below"
        elif kind == "label_out_of_range":
            row["EF (%)"] = "550"
        if kind != "unlisted_file":
            rows.append(row)
        site.plant(kind, _clip(secret, relative))
