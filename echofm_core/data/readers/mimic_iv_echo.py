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

from echofm_core.data.dicom.header import ObjectKind, read_header
from echofm_core.data.findings import Findings, Severity
from echofm_core.data.manifest import manifest_from_rows
from echofm_core.data.readers._source import inside, is_empty, read_table, safe_name
from echofm_core.errors import DataRootError, UnreadableFileError

RECORDS = "echo-record-list.csv"
_FILE = re.compile(r"files/p\d+/p(?P<subject>\d+)/s(?P<study>\d+)/(?P<clip>[^/]+)\.dcm")

REASONS = {
    ObjectKind.STILL: "The object has one frame.",
    ObjectKind.SPECTRAL: "The object is a spectral Doppler trace.",
    ObjectKind.M_MODE: "The object is an M-mode trace.",
    ObjectKind.COLOUR: "The cine shows colour flow over the grey image.",
    ObjectKind.OTHER: "The object is not an ultrasound image.",
}


class MimicIvEchoReader:
    """Reads versions 0.1 to 1.0.1 as downloaded; there are no official splits and no labels."""

    dataset = "mimic_iv_echo"

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
            row = self._row(path, match.group(0), findings)
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

    def _row(self, path: Path, item: str, findings: Findings) -> dict[str, object] | None:
        if not path.is_file():
            findings.add(self.dataset, "missing_file", item, "Listed, not there.")
            return None
        if is_empty(path):
            findings.add(self.dataset, "empty_file", item, "The file is empty.")
            return None
        try:
            header = read_header(path)
        except UnreadableFileError as error:
            findings.add(self.dataset, "undecodable", item, str(error))
            return None
        if header.kind is not ObjectKind.CINE:
            findings.add(self.dataset, header.kind.value, item, REASONS[header.kind])
            return None
        if header.region is None:
            reason = "No image region is declared; the sector is found from the frames alone."
            findings.add(self.dataset, "no_region", item, reason, Severity.REPAIRED)
        if header.fps is None:
            reason = "No element gives the frame rate; times are taken from the frame index."
            findings.add(self.dataset, "no_timing", item, reason, Severity.REPAIRED)
        return {
            "dataset": self.dataset,
            "path": str(path),
            "n_frames": header.n_frames,
            "fps": header.fps,
            "height": header.height or None,
            "width": header.width or None,
            "vendor": header.vendor,
            "model": header.model,
        }
