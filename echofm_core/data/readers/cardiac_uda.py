"""CardiacUDA (Guangdong): NIfTI sequences of two hospitals, G and R.

Layout: ``Site_G_20/``, ``Site_R_52/`` and the like, each with ``patient-1-4_image.nii.gz`` (the
last number is the view, 4 is A4C) and masks. Source: Yang 2023.

This is the one release that names institutions: the reader sets ``site`` to the hospital. Patient
numbers begin anew in each folder, so the folder is part of the patient. ``label_all_frame/`` names
no hospital and may repeat the others' videos: it is left out, and counted. Masks are no task here.
"""

import re
from pathlib import Path

import pandas as pd

from echofm_core.data.findings import Findings
from echofm_core.data.formats.nifti import sequence_shape
from echofm_core.data.manifest import manifest_from_rows
from echofm_core.data.readers._source import safe_name, usable_file
from echofm_core.runtime.errors import UnreadableFileError

_SITE = re.compile(r"Site_(?P<hospital>[A-Za-z]+)_\d+")
_IMAGE = re.compile(r"(?P<patient>patient-?\d+)-(?P<view>\d+)_image\.nii(\.gz)?")
_MASK = re.compile(r".*_label\.nii(\.gz)?")
VIEWS = {"4": "A4C", "2": "A2C"}


class CardiacUdaReader:
    """Reads the release as downloaded."""

    dataset = "cardiac_uda"
    public = True

    def find(self, root: Path) -> bool:
        """Is this layout at ``root``?"""
        return bool(_site_folders(root))

    def read(self, root: Path) -> tuple[pd.DataFrame, Findings]:
        """Manifest of the sequences, ``site`` set to the hospital."""
        findings = Findings()
        rows: list[dict[str, object]] = []
        for folder in _site_folders(root):
            for path in sorted(folder.iterdir()):
                row = self._row(root, path, findings)
                if row is not None:
                    rows.append({**row, "source_row": len(rows)})
        for path in sorted((root / "label_all_frame").glob("*_image.nii*")):
            reason = "Its folder names no hospital, and it may repeat another's video."
            findings.add(self.dataset, "no_site", path.relative_to(root), reason)
        return manifest_from_rows(rows), findings

    def _row(self, root: Path, path: Path, findings: Findings) -> dict[str, object] | None:
        folder, item = path.parent.name, path.relative_to(root).as_posix()
        match, site = _IMAGE.fullmatch(path.name), _SITE.fullmatch(folder)
        if match is None or site is None:
            if not _MASK.fullmatch(path.name):
                reason = "The file is neither an image nor a mask of this data set."
                findings.add(self.dataset, "stray_file", item, reason)
            return None
        file = usable_file(root, item, self.dataset, findings)
        if file is None:
            return None
        try:
            n_frames, height, width = sequence_shape(file)
        except UnreadableFileError as error:
            findings.add(self.dataset, "undecodable", item, str(error))
            return None
        if n_frames < 2:
            findings.add(self.dataset, "still", item, "The sequence has one frame.")
            return None
        patient = safe_name(f"{folder}_{match['patient']}")
        return {
            "dataset": self.dataset,
            "site": f"{self.dataset}_{site['hospital'].lower()}",
            "patient_id": patient,
            "study_id": patient,
            "clip_id": f"{patient}-{match['view']}",
            "path": str(file),
            "view": VIEWS.get(match["view"], "OTHER"),
            "n_frames": n_frames,
            "height": height,
            "width": width,
        }


def _site_folders(root: Path) -> list[Path]:
    try:
        return sorted(item for item in root.iterdir() if _SITE.fullmatch(item.name))
    except OSError:
        return []
