"""Structured measurements of the MIMIC-IV-ECHO phantom, in both reporting systems."""

import csv
import gzip
import io
from dataclasses import dataclass, field
from pathlib import Path

from echofm_core.phantom.heart import Heart
from echofm_core.phantom.patients import Rows, as_row, write_table

TABLE, STUDIES = "structured-measurement.csv.gz", "echo-study-list.csv"
COLUMNS = ("subject_id", "measurement_id", "measurement_datetime", "test_type", "measurement",
           "measurement_description", "result", "unit")  # fmt: skip
STUDY = ("subject_id", "study_id", "study_datetime", "note_id", "note_seq", "note_charttime",
         "measurement_id", "measurement_datetime")  # fmt: skip
#: Number of the first exam.
FIRST = 70000000
#: Half the width of the first system's ranges of EF, in points.
HALF_RANGE = 2.5
#: How much more volume three dimensions show than two.
IN_3D = 1.15
#: What cannot be used, by what a reader should find.
PLANTED: dict[str, tuple[str, object, str]] = {
    "result_in_words": ("lvef", "NORMAL", "%"),
    "open_result": ("biplane_lvef", ">55", "%"),
    "label_out_of_range": ("lvef_3d", 155, "%"),
    "unknown_unit": ("biplane_lvedv", 61, "mL/m2"),
    "unknown_measurement": ("lvesv_index", 24, "mL/m2"),
}


@dataclass(slots=True)
class Exams:
    """The rows of the study list, and those of the table of measurements."""

    studies: Rows = field(default_factory=list)
    rows: list[tuple[object, ...]] = field(default_factory=list)

    def list_study(self, subject: int, study: int, when: str, *, examined: bool = True) -> int:
        """Enter a study in the study list; returns the number of its exam."""
        exam = FIRST + len(self.studies)
        measured = (exam, when) if examined else ("", "")
        self.studies.append(as_row(STUDY, subject, study, when, "", "", "", *measured))
        return exam

    def _add(
        self, subject: int, exam: int, when: str, name: str, result: object, unit: str,
        kind: str = "tte",
    ) -> None:  # fmt: skip
        described = f"Left Ventricle - {name}, as reported"
        self.rows.append((subject, exam, when, kind, name, described, result, unit))

    def measure(self, subject: int, exam: int, when: str, heart: Heart) -> None:
        """Enter what was measured of a heart: even subjects by the first system, odd by the other.

        The first gives a visual range of EF, the other EF and volumes by two methods.
        """
        values: list[tuple[str, object, str]]
        if subject % 2 == 0:
            values = [
                ("height_cm", 155 + 7 * subject % 40, "cm"),
                ("lvef", round(heart.ef - HALF_RANGE, 4), "%"),
                ("lvef_upper", round(heart.ef + HALF_RANGE, 4), "%"),
                ("av_pk_vel", 1.2, "m/s"),
            ]
        else:
            values = [
                ("gender", "F", ""),
                ("lvef_3d", round(heart.ef + 1.5, 4), "%"),
                ("biplane_lvef", round(heart.ef, 4), "%"),
                ("biplane_lvedv", round(heart.edv, 4), "mL"),
                ("biplane_lvesv", round(heart.esv, 4), "mL"),
                ("lvedv_3d", round(heart.edv * IN_3D, 4), "mL"),
                ("lvedd", 4.6, "cm"),
            ]
        for name, result, unit in values:
            self._add(subject, exam, when, name, result, unit)

    def plant(self, subject: int, exam: int, when: str) -> tuple[str, ...]:
        """Enter what cannot be used; returns what a reader should find, one of each kind."""
        for name, result, unit in PLANTED.values():
            self._add(subject, exam, when, name, result, unit)
        self._add(subject, exam, when, "lvef", 40, "%", "tee")
        self._add(subject + 1, FIRST - 1, when, "lvef", 60, "%")
        return (*PLANTED, "other_exam_type", "exam_without_cines")

    def close(self, root: Path) -> None:
        """Write both tables, that of measurements packed."""
        write_table(root / STUDIES, self.studies)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(self.rows)
        (root / TABLE).write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))
