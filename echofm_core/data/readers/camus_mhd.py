"""CAMUS, the earlier MHD release: apical two- and four-chamber half cycles with EF and volumes.

Layout: ``training/patientNNNN/`` and ``testing/patientNNNN/`` with ``Info_*.cfg`` and
``*_sequence.mhd`` beside its raw file. Source: Leclerc 2019.

Patient numbers begin anew in ``testing/`` and are others than those of the NIfTI release: the part
is in the patient's id. The two releases hold the same patients under other numbers, so they must
not be used together; the doctor finds their equal pictures.
"""

from collections.abc import Iterator
from pathlib import Path

from echofm_core.data.formats.mhd import read_header
from echofm_core.data.manifest import Split
from echofm_core.data.readers._api import Reader
from echofm_core.data.readers._source import Row, Source
from echofm_core.data.readers.camus import VIEWS, with_settings

PARTS = {"training": Split.TRAIN, "testing": Split.TEST}


class CamusMhdReader(Reader):
    """Reads the release as downloaded, both views."""

    dataset = "camus_mhd"

    def find(self, root: Path) -> bool:
        """Is this layout at ``root``?"""
        return any(next((root / part).glob("patient*/*.mhd"), None) for part in PARTS)

    def rows(self, source: Source) -> Iterator[Row]:
        """The sequences that are there."""
        for part, split in PARTS.items():
            folders = sorted(source.root.glob(f"{part}/patient*/"))
            for position, folder in enumerate(folders):
                for chamber, view in VIEWS.items():
                    place = f"{part}/{folder.name}"
                    item = f"{place}/{folder.name}_{chamber}_sequence.mhd"
                    columns = source.sequence(item, read_header)
                    if columns is None:
                        continue
                    columns = with_settings(columns, f"{place}/Info_{chamber}.cfg", source, item)
                    more: Row = {"view": view, "split": split, "source_row": position}
                    patient = f"{part}_{folder.name}"
                    yield source.row(patient, f"{patient}_{chamber}", **columns, **more)
