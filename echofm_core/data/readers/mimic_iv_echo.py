"""MIMIC-IV-ECHO (Boston): unlabelled DICOM cines of transthoracic studies.

Layout: ``files/pNN/pSUBJECT/sSTUDY/STUDY_NNNN.dcm`` and ``echo-record-list.csv``. The archive also
holds stills, spectral and M-mode objects (45 %), told apart by their headers alone: no pixel is
read here. Colour Doppler cines are left out too, because colour on grey is no anatomy. Dates are
shifted for each patient and are not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from echofm_core.data.findings import Findings, Severity
from echofm_core.data.manifest import manifest_from_rows
from echofm_core.data.readers._dicom import cine_columns
from echofm_core.data.readers._source import inside, read_table, safe_name, usable_file
from echofm_core.errors import DataRootError

RECORDS = "echo-record-list.csv"
_FILE = re.compile(r"files/p\d+/p(?P<subject>\d+)/s(?P<study>\d+)/(?P<clip>[^/]+)\.dcm")


class MimicIvEchoReader:
    """Reads versions 0.1 to 1.0.1 as downloaded; there are no official splits and no labels."""

    dataset = "mimic_iv_echo"
    public = True

    def find(self, root: Path) -> bool:
        """Is this layout at ``root``?"""
        return (root / RECORDS).is_file() and (root / "files").is_dir()

    def read(self, root: Path) -> tuple[pd.DataFrame, Findings]:
        """Manifest of the grey-scale cines."""
        findings = Findings()
        rows: list[dict[str, object]] = []
        seen: set[Path] = set()
        for index, item, written in self._listed(root, findings):
            path = inside(root, written)
            match = _FILE.fullmatch(written.strip().lstrip("/"))
            if path is None or match is None:
                reason = "The path is not of the form files/pNN/pSUBJECT/sSTUDY/FILE.dcm."
                findings.add(self.dataset, "bad_path", item, reason)
                continue
            if path in seen:
                reason = "The file is listed twice; the first row is used."
                findings.add(self.dataset, "duplicate_row", item, reason)
                continue
            seen.add(path)
            item = match.group(0)
            file = usable_file(root, item, self.dataset, findings)
            row = None if file is None else cine_columns(file, self.dataset, item, findings)
            if row is not None:
                rows.append(
                    {
                        **row,
                        "patient_id": match["subject"],
                        "study_id": match["study"],
                        "clip_id": safe_name(match["clip"]),
                        "source_row": index,
                    }
                )
        return manifest_from_rows(rows), findings

    def _listed(self, root: Path, findings: Findings) -> Iterator[tuple[int | None, str, str]]:
        """Row, its name and the relative path of every record, then of every unlisted file."""
        listed: set[str] = set()
        try:
            table = read_table(root / RECORDS, ("dicom_filepath",))
        except DataRootError as error:
            findings.add(self.dataset, "bad_table", RECORDS, str(error), Severity.REPAIRED)
        else:
            for index, values in enumerate(table.rows):
                listed.add(values["dicom_filepath"].strip().lstrip("/"))
                yield index, table.item(index), values["dicom_filepath"]
        for path in sorted((root / "files").glob("p*/p*/s*/*.dcm")):
            relative = path.relative_to(root).as_posix()
            if relative not in listed:
                reason = f"The file is not in {RECORDS}; its folder says whose it is."
                findings.add(self.dataset, "unlisted_file", relative, reason, Severity.REPAIRED)
                yield None, relative, relative
