"""Who a DICOM object is of: read to be hashed at once, never kept as it is."""

import re
from dataclasses import dataclass
from pathlib import Path

from echofm_core.data.dicom.part10 import header_elements

TAGS = ["PatientID", "StudyInstanceUID", "PatientSex", "PatientAge"]
_AGE = re.compile(r"(\d{1,3})([YMWD])")
_A_YEAR = {"Y": 1.0, "M": 12.0, "W": 52.1775, "D": 365.2425}


@dataclass(frozen=True, slots=True, repr=False)  # no repr: it must not end up in a log
class Identity:
    """Patient and study as the header names them ("" where it does not), sex, and age in years."""

    patient: str
    study: str
    sex: str
    age: float | None


def read_identity(file: Path) -> Identity:
    """The identity in a header.

    Raises:
        UnreadableFileError: The header cannot be read.
    """
    with header_elements(file, TAGS) as dataset:
        patient, study, sex, age = (str(dataset.get(tag) or "").strip() for tag in TAGS)
    match = _AGE.fullmatch(age)
    return Identity(patient, study, sex, int(match[1]) / _A_YEAR[match[2]] if match else None)
