"""MIMIC-IV-ECHO-LVVOL-A4C as downloaded: DICOM cines with EF and volumes, FileList.csv."""

from echofm_core.phantom.heart import draw_heart
from echofm_core.phantom.patients import Exam, Institution, Row, Rows, as_row, examine, write_table
from echofm_core.phantom.scanners import MIMIC
from echofm_core.phantom.views import View
from echofm_core.phantom.writers import dicom

EF_MEAN, EF_SD = 53.0, 14.0
FRAMES = 44
#: First patient and study: none of those that the MIMIC-IV-ECHO phantom has.
FIRST = (12000000, 92000000)
COLUMNS = ("patient_id", "study_date", "study_time", "parent_dicom_path", "study_id", "modality",
           "manufacturer", "manufacturer_model", "rows", "columns", "number_of_frames",
           "frame_rate", "photometric_interpretation", "LVEDV_A4C", "LVESV_A4C", "LVEF_A4C",
           "LVEDV_BP", "LVESV_BP", "LVEF_BP")  # fmt: skip


def write(site: Institution) -> None:
    """Write ``mimic-iv-echo-ext-lvvol-a4c/1.0.0``."""
    (site.root / "dicom").mkdir(parents=True)
    rows: Rows = []
    for patient, rng in site.each():
        machine = patient % len(MIMIC)
        exam = examine(draw_heart(rng, EF_MEAN, EF_SD), View.A4C, MIMIC[machine], FRAMES, rng)
        study = FIRST[1] + patient
        _save(site, study, exam, machine)
        site.truth.append(exam.truth(f"lvvol_{study}"))
        rows.append(_row(FIRST[0] + patient, study, exam, machine))
    if site.errors:
        _plant(site, rows)
    write_table(site.root / "FileList.csv", rows)


def _save(site: Institution, study: int, exam: Exam, machine: int, *, still: bool = False) -> None:
    header = dicom.exam_header(exam, machine, f"{site.seed} lvvol {study}.dcm")
    if still:
        dicom.as_still(header)
    dicom.save_exam(site.root / f"dicom/{study}.dcm", header, exam, machine)


def _row(patient: int, study: int, exam: Exam, machine: int) -> Row:
    heart, scanner, (vendor, model, _) = exam.heart, exam.scanner, dicom.DEVICES[machine]
    parent = f"files/p12/p{patient}/s{study}/{study}_0007.dcm"
    who = (patient, f"{2110 + patient % 80}-01-01", "10:00:00", parent, study, "US", vendor, model)
    what = (scanner.height, scanner.width, len(exam.clip.frames), scanner.fps, "YBR_FULL_422")
    return as_row(COLUMNS, *who, *what, heart.edv, heart.esv, heart.ef, "NA", "NA", "")


def _plant(site: Institution, rows: Rows) -> None:
    """A label by the other method, a wrong length, and files that are amiss."""
    rng = site.rng(0, "planted")
    exam = examine(draw_heart(rng, EF_MEAN, EF_SD), View.A4C, MIMIC[0], 20, rng)
    kinds = ("biplane_label", "frame_count", "still", "missing_file", "undecodable",
             "unlisted_file")  # fmt: skip
    for number, kind in enumerate(kinds):
        study = FIRST[1] + 900000 + number
        row = _row(FIRST[0] + 900000 + number, study, exam, 0)
        site.plant(kind, f"dicom/{study}.dcm")
        # Not the same picture under several names: that would be one more error.
        exam = examine(exam.heart, View.A4C, MIMIC[0], 20, rng)
        if kind == "biplane_label":
            for name in ("EDV", "ESV", "EF"):
                row[f"LV{name}_BP"], row[f"LV{name}_A4C"] = row[f"LV{name}_A4C"], "NA"
        elif kind == "frame_count":
            row["number_of_frames"] = 21
        if kind == "undecodable":
            (site.root / f"dicom/{study}.dcm").write_bytes(dicom.NO_DICOM)
        elif kind != "missing_file":
            _save(site, study, exam, 0, still=kind == "still")
        if kind != "unlisted_file":
            rows.append(row)
