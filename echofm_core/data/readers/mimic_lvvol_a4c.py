"""MIMIC-IV-ECHO-LVVOL-A4C (Boston): apical four-chamber DICOM cines with volumes and EF.

Layout: ``FileList.csv`` and ``dicom/STUDY.dcm``. Its patients are patients of MIMIC-IV-ECHO too and
carry the same numbers, so that splits over both keep each patient on one side.

Labels are those traced in the four-chamber view; where a row has only the biplane ones, these are
taken, and noted, because the two methods differ.
"""

from functools import partial
from pathlib import Path

import pandas as pd

from echofm_core.data.findings import Findings, Severity
from echofm_core.data.manifest import manifest_from_rows
from echofm_core.data.readers._dicom import DIED, Look, cine_columns, look
from echofm_core.data.readers._files import over_files
from echofm_core.data.readers._source import (
    Refusal,
    disagreement,
    integer,
    label,
    number,
    safe_name,
    volumes_in_order,
)
from echofm_core.data.readers._tables import Table, read_table
from echofm_core.tasks import Task

COLUMNS = ("patient_id", "study_id", "LVEF_A4C", "LVEDV_A4C", "LVESV_A4C")
LABELS = {Task.EF: "LVEF", Task.EDV: "LVEDV", Task.ESV: "LVESV"}
LABEL_COLUMNS = [f"{name}_{method}" for name in LABELS.values() for method in ("A4C", "BP")]


class MimicLvvolA4cReader:
    """Reads version 1.0.0 as downloaded; there is no official split."""

    dataset = "mimic_lvvol_a4c"
    public = True

    def find(self, root: Path) -> bool:
        """Is this layout at ``root``?"""
        return (root / "FileList.csv").is_file() and (root / "dicom").is_dir()

    def read(self, root: Path) -> tuple[pd.DataFrame, Findings]:
        """Manifest of the listed grey cines."""
        findings = Findings()
        table = read_table(root / "FileList.csv", COLUMNS)
        seen: set[str] = set()
        listed: dict[str, int] = {}
        for index, values in enumerate(table.rows):
            study = values["study_id"]
            if study in seen:
                first = listed.get(f"dicom/{study}.dcm")
                self._settle(table, index, first, findings)
            elif not values["patient_id"].lstrip("p") or study != safe_name(study):
                reason = "The row does not name a patient and a study."
                findings.add(self.dataset, "bad_path", table.item(index), reason)
            else:
                listed[f"dicom/{study}.dcm"] = index
            seen.add(study)
        looks = over_files(partial(look, root=root), list(listed), "reading headers", DIED)
        rows = []
        for (relative, index), found in zip(listed.items(), looks, strict=True):
            row = self._row(relative, found, table.rows[index], findings)
            if row is not None:
                rows.append({**row, "source_row": index})
        for path in sorted((root / "dicom").glob("*.dcm")):
            if path.stem not in seen:
                reason = "The file is not in FileList.csv, so it has no patient and no label."
                findings.add(self.dataset, "unlisted_file", f"dicom/{path.name}", reason)
        return manifest_from_rows(rows), findings

    def _settle(self, table: Table, index: int, first: int | None, findings: Findings) -> None:
        """Of two rows about one study, keep the first, without what they disagree about."""
        kept = table.rows[index if first is None else first]
        again = table.rows[index]
        differ = [name for name in again if name in LABEL_COLUMNS and kept[name] != again[name]]
        if differ:
            kept.update(dict.fromkeys(differ, ""))
            reason, kind = disagreement(differ), "rows_disagree"
            findings.add(self.dataset, kind, table.item(index), reason, Severity.REPAIRED)
        else:
            reason = "The study is listed twice; the first row is used."
            findings.add(self.dataset, "duplicate_row", table.item(index), reason)

    def _row(
        self, relative: str, found: Look | Refusal, values: dict[str, str], findings: Findings
    ) -> dict[str, object] | None:
        columns = cine_columns(found, self.dataset, relative, findings)
        if columns is None:
            return None
        declared = integer(values.get("number_of_frames"))
        if declared is not None and declared != columns["n_frames"]:
            reason = f"FileList.csv says {declared} frames, the header {columns['n_frames']}."
            findings.add(self.dataset, "frame_count", relative, reason, Severity.REPAIRED)
        return {
            **columns,
            "patient_id": values["patient_id"].lstrip("p"),
            "study_id": values["study_id"],
            "clip_id": f"lvvol_{values['study_id']}",
            "view": "A4C",
            **self._labels(values, relative, findings),
        }

    def _labels(
        self, values: dict[str, str], item: str, findings: Findings
    ) -> dict[str, float | None]:
        method = "A4C"
        if number(values["LVEF_A4C"]) is None and number(values.get("LVEF_BP")) is not None:
            method = "BP"
            reason = "Only biplane labels are given; they are taken."
            findings.add(self.dataset, "biplane_label", item, reason, Severity.NOTED)
        labels = {
            task.value: label(values.get(f"{name}_{method}"), task, self.dataset, item, findings)
            for task, name in LABELS.items()
        }
        return volumes_in_order(labels, self.dataset, item, findings)
