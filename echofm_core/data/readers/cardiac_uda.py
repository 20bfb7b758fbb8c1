"""CardiacUDA (Guangdong): NIfTI sequences of two hospitals, G and R.

Layout: ``Site_G_20/``, ``Site_R_52/`` and the like, each with ``patient-1-4_image.nii.gz`` (the
last number is the view, 4 is A4C) and masks. Source: Yang 2023.

This is the one release that names institutions: the reader sets ``site`` to the hospital. Patient
numbers begin anew in each folder, so the folder is part of the patient. ``label_all_frame/`` names
no hospital and may repeat the others' videos: it is left out, and counted. Masks are no task here.
"""

import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from echofm_core.data.formats.nifti import read_header
from echofm_core.data.readers._api import Reader
from echofm_core.data.readers._source import Row, Source, safe_name

_SITE = re.compile(r"Site_(?P<hospital>[A-Za-z]+)_\d+")
_IMAGE = re.compile(r"(?P<patient>patient-?\d+)-(?P<view>\d+)_image\.nii(\.gz)?")
_MASK = re.compile(r".*_label\.nii(\.gz)?")
VIEWS = {"4": "A4C", "2": "A2C"}


class CardiacUdaReader(Reader):
    """Reads the release as downloaded."""

    dataset = "cardiac_uda"

    def find(self, root: Path) -> bool:
        """Is this layout at ``root``?"""
        return bool(_site_folders(root))

    def rows(self, source: Source) -> Iterator[Row]:
        """The sequences, ``site`` set to the hospital."""
        number = count()
        for folder in _site_folders(source.root):
            for path in sorted(folder.iterdir()):
                if (row := _row(source, path)) is not None:
                    yield {**row, "source_row": next(number)}
        for path in sorted((source.root / "label_all_frame").glob("*_image.nii*")):
            reason = "Its folder names no hospital, and it may repeat another's video."
            source.quarantined("no_site", path.relative_to(source.root), reason)


def _row(source: Source, path: Path) -> Row | None:
    folder, item = path.parent.name, path.relative_to(source.root).as_posix()
    match, site = _IMAGE.fullmatch(path.name), _SITE.fullmatch(folder)
    if match is None or site is None:
        if not _MASK.fullmatch(path.name):
            reason = "The file is neither an image nor a mask of this data set."
            source.quarantined("stray_file", item, reason)
        return None
    columns = source.sequence(item, read_header)
    if columns is None:
        return None
    if columns["n_frames"] == 1:
        source.quarantined("still", item, "The sequence has one frame.")
        return None
    patient = safe_name(f"{folder}_{match['patient']}")
    columns["site"] = f"{source.dataset}_{site['hospital'].lower()}"
    columns["view"] = VIEWS.get(match["view"], "OTHER")
    return source.row(patient, f"{patient}-{match['view']}", **columns)


def _site_folders(root: Path) -> list[Path]:
    try:
        return sorted(item for item in root.iterdir() if _SITE.fullmatch(item.name))
    except OSError:
        return []
