"""The contract of a reader: opens one public layout exactly as downloaded."""

from pathlib import Path
from typing import Protocol

import pandas as pd

from echofm_core.data.findings import Findings


class Reader(Protocol):
    """One data set's layout.

    A reader never changes what it reads, survives every known error of its source (each becomes
    a finding), and raises only :class:`~echofm_core.runtime.errors.DataRootError`, when
    nothing is usable.
    """

    dataset: str
    """Name in the manifest's ``dataset`` column and, in the protocol ``institution``, the site."""

    public: bool
    """Are file names public pseudonyms, fit for findings? Their form is in
    :data:`~echofm_core.data.patients.PUBLISHED`; other names are hashed."""

    def find(self, root: Path) -> bool:
        """Is this layout at ``root``? Cheap, and never raises."""
        ...

    def read(self, root: Path) -> tuple[pd.DataFrame, Findings]:
        """Manifest of the usable clips and what was wrong.

        ``site`` is null, unless the release names the hospital.
        """
        ...
