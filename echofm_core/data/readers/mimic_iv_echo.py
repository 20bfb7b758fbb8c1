"""MIMIC-IV-ECHO (Boston): DICOM cines of transthoracic studies, and what was measured in them.

Layout: ``files/pNN/pSUBJECT/sSTUDY/STUDY_NNNN.dcm`` and ``echo-record-list.csv``; from 1.0 on also
``structured-measurement.csv.gz`` with ``echo-study-list.csv``. The archive also holds stills,
spectral and M-mode objects (45 %), told apart by their headers alone: no pixel is read here. Colour
Doppler cines are left out too, because colour on grey is no anatomy. Dates are shifted for each
patient and are not kept.

EF and volumes, where there are any, are the study's: every cine of the study has them, whatever it
shows. No view is given, and ``view`` stays null.
"""

import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import pandas as pd

from echofm_core.data.config import MimicConfig
from echofm_core.data.file_kinds import Kind
from echofm_core.data.findings import Findings, Severity
from echofm_core.data.manifest import manifest_from_rows
from echofm_core.data.readers._dicom import DIED, Look, cine_columns, look
from echofm_core.data.readers._files import files_below, over_files
from echofm_core.data.readers._mimic_measurements import study_labels
from echofm_core.data.readers._source import Refusal, safe_name
from echofm_core.data.readers._stream import stream_columns
from echofm_core.runtime.errors import DataRootError
from echofm_core.tasks import Task

RECORDS = "echo-record-list.csv"
#: Rows of the record list that cannot be used, after which it is taken to be no record list.
MOST_BAD = 10_000
_FILE = re.compile(r"files/p\d+/p(?P<subject>\d+)/s(?P<study>\d+)/(?P<clip>[^/]+)\.dcm")


class MimicIvEchoReader:
    """Reads versions 0.1 to 1.0.1 as downloaded; there are no official splits."""

    dataset = "mimic_iv_echo"
    public = True

    def __init__(self, config: MimicConfig | None = None) -> None:
        self.config = config or MimicConfig()

    def find(self, root: Path) -> bool:
        """Is this layout at ``root``?"""
        return (root / RECORDS).is_file() and (root / "files").is_dir()

    def read(self, root: Path) -> tuple[pd.DataFrame, Findings]:
        """Manifest of the grey-scale cines."""
        findings = Findings()
        files = self._files(root, findings)
        looks = over_files(partial(look, root=root), list(files), "reading headers", DIED)
        manifest = manifest_from_rows(self._rows(files, looks, findings))
        if self.config.measurements:
            manifest = self._with_labels(root, manifest, findings)
        return manifest, findings

    def _files(self, root: Path, findings: Findings) -> dict[str, int | None]:
        """Relative path of every file, in order, with the row of the record list that names it."""
        files: dict[str, int | None] = {}
        try:
            self._listed(root / RECORDS, files, findings)
        except DataRootError as error:
            findings.add(self.dataset, "bad_table", RECORDS, str(error), Severity.REPAIRED)
        for below in files_below(root / "files", {Kind.DICOM}):
            relative = f"files/{below}"
            if relative not in files and _FILE.fullmatch(relative):
                reason = f"The file is not in {RECORDS}; its folder says whose it is."
                findings.add(self.dataset, "unlisted_file", relative, reason, Severity.REPAIRED)
                files[relative] = None
        return files

    def _listed(self, table: Path, files: dict[str, int | None], findings: Findings) -> None:
        """Fill ``files`` from the record list.

        Raises:
            DataRootError: It cannot be read (on), or too many of its rows name no file.
        """
        bad = 0
        for index, (written,) in enumerate(stream_columns(table, ["dicom_filepath"])):
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
                findings.add(self.dataset, "duplicate_row", item, reason)
            else:
                reason = "The path is not of the form files/pNN/pSUBJECT/sSTUDY/FILE.dcm."
                findings.add(self.dataset, "bad_path", item, reason)

    def _rows(
        self, files: dict[str, int | None], looks: Iterable[Look | Refusal], findings: Findings
    ) -> Iterator[dict[str, object]]:
        for (item, index), found in zip(files.items(), looks, strict=True):
            match = _FILE.fullmatch(item)
            columns = cine_columns(found, self.dataset, item, findings)
            if match is not None and columns is not None:
                yield {
                    **columns,
                    "patient_id": match["subject"],
                    "study_id": match["study"],
                    "clip_id": safe_name(match["clip"]),
                    "source_row": index,
                }

    def _with_labels(self, root: Path, manifest: pd.DataFrame, findings: Findings) -> pd.DataFrame:
        patients = dict(zip(manifest["study_id"], manifest["patient_id"], strict=True))
        labels = study_labels(root, patients, self.dataset, findings)
        for column in (Task.EF, Task.EDV, Task.ESV):
            known = {study: values.get(column) for study, values in labels.items()}
            manifest[column] = manifest["study_id"].map(known).astype("Float32")
        return manifest
