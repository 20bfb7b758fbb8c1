"""A synthetic hospital's folder: AVI cines, a table of what its readers measured, a mapping."""

import hashlib

from echofm_core.data.patients import pseudonym
from echofm_core.phantom.hospitals import Hospital, examine_at, read_volumes
from echofm_core.phantom.patients import Institution, Row, Rows, as_row, write_table
from echofm_core.phantom.writers.files import write_avi

COLUMNS = ("File", "Patient", "View", "EF", "EDV", "ESV", "Sex", "Age")
MAPPING = """# How this SYNTHETIC folder becomes a manifest.
dataset = "{name}"
secret = "site.secret"
table = "export.csv"

[columns]
path = "File"
patient_id = "Patient"
view = "View"
ef = "EF"
edv = "EDV"
esv = "ESV"
sex = "Sex"
age = "Age"
"""


def write(site: Institution, hospital: Hospital) -> None:
    """Write its folder; labels are its reader's, and ``ROOT.truth.csv`` has the exact ones."""
    (site.root / "cines").mkdir(parents=True)
    secret = hashlib.sha256(f"phantom {site.seed} {hospital.name}".encode()).digest()
    (site.root / "site.secret").write_text(secret.hex() + "\n", encoding="ascii")
    mapping = MAPPING.format(name=hospital.name)
    (site.root / "echofm.toml").write_text(mapping, encoding="utf-8")
    rows: Rows = []
    for patient, rng in site.each():
        relative = f"cines/{patient:05d}.avi"
        exam = examine_at(hospital, rng)
        write_avi(
            site.root / relative, exam.clip.frames, exam.scanner.fps, quality=exam.scanner.quality
        )
        read = read_volumes(exam.heart, hospital, site.rng(patient, "reader"))
        clip = f"{hospital.name}-{pseudonym(secret, f'{hospital.name}/clip', relative)}"
        site.truth.append(exam.truth(clip))
        rows.append(_row(relative, patient, exam.view.value, read))
    write_table(site.root / "export.csv", rows, COLUMNS)


def _row(relative: str, patient: int, view: str, read: tuple[float, float, float]) -> Row:
    edv, esv, ef = read
    who = (f"P{patient:05d}", view, f"{ef:.1f}", f"{edv:.1f}", f"{esv:.1f}")
    return as_row(COLUMNS, relative, *who, "FM"[patient % 2], 35 + patient * 7 % 55)
