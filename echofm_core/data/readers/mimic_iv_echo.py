"""MIMIC-IV-ECHO (Boston): DICOM cines of transthoracic studies, and what was measured in them.

Layout: ``files/pNN/pSUBJECT/sSTUDY/STUDY_NNNN.dcm`` and ``echo-record-list.csv``; from 1.0 on also
``structured-measurement.csv.gz`` with ``echo-study-list.csv``. The archive also holds stills,
spectral and M-mode objects (45 %), recognised by their headers alone: no pixel is read here. Colour
Doppler cines are left out too, because colour on grey is no anatomy. Dates are shifted for each
patient and are not kept.

EF and volumes, where there are any, are the study's: every cine of the study has them, whatever it
shows. No view is given, and ``view`` stays null.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from echofm_core.data.config import MimicConfig
from echofm_core.data.file_kinds import Kind, files_below
from echofm_core.data.findings import Findings
from echofm_core.data.manifest import manifest_from_rows
from echofm_core.data.readers._api import Reader
from echofm_core.data.readers._dicom import headers_of
from echofm_core.data.readers._mimic_measurements import study_labels
from echofm_core.data.readers._source import Row, Source, safe_name
from echofm_core.data.readers._tables import stream_columns
from echofm_core.runtime.errors import DataRootError
from echofm_core.tasks import Task

RECORDS = "echo-record-list.csv"
#: Rows of the record list that cannot be used, after which it is taken to be no record list.
MOST_BAD = 10_000
_FILE = re.compile(r"files/p\d+/p(?P<subject>\d+)/s(?P<study>\d+)/(?P<clip>[^/]+)\.dcm")


class MimicIvEchoReader(Reader):
    """Reads versions 0.1 to 1.0.1 as downloaded; there are no official splits."""

    dataset = "mimic_iv_echo"
    layouts = ((RECORDS, "files/"),)

    def __init__(self, config: MimicConfig | None = None) -> None:
        self.config = config or MimicConfig()

    def read(self, root: Path) -> tuple[pd.DataFrame, Findings]:
        """Manifest of the grey-scale cines, with their studies' labels."""
        source = self.source(root)
        manifest = manifest_from_rows(self.rows(source))
        if self.config.measurements:
            patients = dict(zip(manifest["study_id"], manifest["patient_id"], strict=True))
            labels = study_labels(source, patients)
            for column in (Task.EF, Task.EDV, Task.ESV):
                known = {study: values.get(column) for study, values in labels.items()}
                manifest[column] = manifest["study_id"].map(known).astype("Float32")
        return manifest, source.findings

    def rows(self, source: Source) -> Iterator[Row]:
        """The grey-scale cines, without labels."""
        files = _files(source)
        for item, columns in zip(files, headers_of(source, list(files)), strict=True):
            match = _FILE.fullmatch(item)
            if match is not None and columns is not None:
                yield {
                    **columns,
                    "patient_id": match["subject"],
                    "study_id": match["study"],
                    "clip_id": safe_name(match["clip"]),
                    "source_row": files[item],
                }


def _files(source: Source) -> dict[str, int | None]:
    """Relative path of every file, in order, with the row of the record list that names it."""
    files: dict[str, int | None] = {}
    try:
        _add_listed(source, files)
    except DataRootError as error:
        source.repaired("bad_table", RECORDS, str(error))
    for below in files_below(source.root / "files", {Kind.DICOM}):
        relative = f"files/{below}"
        if relative not in files and _FILE.fullmatch(relative):
            reason = f"The file is not in {RECORDS}; its folder says whose it is."
            source.repaired("unlisted_file", relative, reason)
            files[relative] = None
    return files


def _add_listed(source: Source, files: dict[str, int | None]) -> None:
    """Fill ``files`` from the record list.

    Raises:
        DataRootError: It cannot be read (on), or too many of its rows name no file.
    """
    bad = 0
    rows = stream_columns(source.root / RECORDS, ["dicom_filepath"])
    for index, (written,) in enumerate(rows):
        relative, item = written.lstrip("/"), f"{RECORDS}:{index}"
        if relative not in files and _FILE.fullmatch(relative) is not None:
            files[relative] = index
            continue
        if bad == MOST_BAD:  # a small packed table can have millions of them
            raise DataRootError(
                f"table {RECORDS} has more than {MOST_BAD:,} rows that cannot be used, and is "
                f"read up to row {index:,}; download it again."
            )
        bad += 1
        if relative in files:
            reason = "The file is listed twice; the first row is used."
            source.quarantined("duplicate_row", item, reason)
        else:
            reason = "The path is not of the form files/pNN/pSUBJECT/sSTUDY/FILE.dcm."
            source.quarantined("bad_path", item, reason)
