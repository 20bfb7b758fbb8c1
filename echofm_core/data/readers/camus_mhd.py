"""CAMUS, the earlier MHD release: apical two- and four-chamber half cycles with EF and volumes.

Layout: ``training/patientNNNN/`` and ``testing/patientNNNN/`` with ``Info_*.cfg`` and
``*_sequence.mhd`` beside its raw file. Source: Leclerc 2019.

Patient numbers begin anew in ``testing/`` and are others than those of the NIfTI release: the part
is in the patient's id. The two releases hold the same patients under other numbers, so they must
not be used together; the doctor finds their equal pictures.
"""

from pathlib import Path

import pandas as pd

from echofm_core.data.findings import Findings
from echofm_core.data.formats.mhd import read_header
from echofm_core.data.manifest import Split, manifest_from_rows
from echofm_core.data.readers._source import usable_file
from echofm_core.data.readers.camus import VIEWS, settings_columns
from echofm_core.runtime.errors import UnreadableFileError

PARTS = {"training": Split.TRAIN, "testing": Split.TEST}


class CamusMhdReader:
    """Reads the release as downloaded, both views."""

    dataset = "camus_mhd"
    public = True

    def find(self, root: Path) -> bool:
        """Is this layout at ``root``?"""
        return any(next((root / part).glob("patient*/*.mhd"), None) for part in PARTS)

    def read(self, root: Path) -> tuple[pd.DataFrame, Findings]:
        """Manifest of the sequences that are there."""
        findings = Findings()
        rows: list[dict[str, object]] = []
        for part, split in PARTS.items():
            folders = sorted(item for item in (root / part).glob("patient*") if item.is_dir())
            for position, folder in enumerate(folders):
                for chamber in VIEWS:
                    row = self._row(root, folder, chamber, findings)
                    if row is not None:
                        rows.append({**row, "split": split, "source_row": position})
        return manifest_from_rows(rows), findings

    def _row(
        self, root: Path, folder: Path, chamber: str, findings: Findings
    ) -> dict[str, object] | None:
        stem = f"{folder.name}_{chamber}"
        item = (folder / f"{stem}_sequence.mhd").relative_to(root).as_posix()
        path = usable_file(root, item, self.dataset, findings)
        if path is None:
            return None
        try:
            n_frames, height, width = read_header(path).shape
        except UnreadableFileError as error:
            findings.add(self.dataset, "undecodable", item, str(error))
            return None
        patient = f"{folder.parent.name}_{folder.name}"
        return {
            "dataset": self.dataset,
            "patient_id": patient,
            "study_id": patient,
            "clip_id": f"{patient}_{chamber}",
            "path": str(path),
            "view": VIEWS[chamber],
            "n_frames": n_frames,
            "height": height,
            "width": width,
            **settings_columns(
                folder / f"Info_{chamber}.cfg", self.dataset, item, n_frames, findings
            ),
        }
