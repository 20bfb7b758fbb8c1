"""The contract of a reader: opens one public layout exactly as downloaded."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

import pandas as pd

from echofm_core.data.findings import Findings
from echofm_core.data.manifest import manifest_from_rows
from echofm_core.data.readers._source import Row, Source


class Reader(ABC):
    """One data set's layout.

    A reader never changes what it reads, survives every known error of its source (each becomes
    a finding), and raises only :class:`~echofm_core.runtime.errors.DataRootError`, when
    nothing is usable.
    """

    dataset: ClassVar[str]
    """Name in the manifest's ``dataset`` column and, in the protocol ``institution``, the site."""

    public: ClassVar[bool] = True
    """Are file names public pseudonyms, fit for findings? Their form is in
    :data:`~echofm_core.data.patients.PUBLISHED`; other names are hashed."""

    layouts: ClassVar[Sequence[Sequence[str]]] = ()
    """What lies at its top, one of several: files, and folders, whose names end in a slash."""

    def find(self, root: Path) -> bool:
        """Is this layout at ``root``? Cheap, and never raises."""
        return any(is_there(root, names) for names in self.layouts)

    def read(self, root: Path) -> tuple[pd.DataFrame, Findings]:
        """Manifest of the usable clips and what was wrong.

        ``site`` is null, unless the release names the hospital.

        Raises:
            DataRootError: A table that all depends on cannot be read.
        """
        source = self.source(root)
        return manifest_from_rows(self.rows(source)), source.findings

    def source(self, root: Path) -> Source:
        """The data set at ``root``, by its own name, with nothing found yet.

        Raises:
            DataRootError: An institution's own mapping file, which names it, is not valid.
        """
        return Source(self.dataset, root)

    @abstractmethod
    def rows(self, source: Source) -> Iterable[Row]:
        """A row a usable clip, in the source's order; what was wrong goes to ``source``.

        Raises:
            DataRootError: As of :meth:`read`.
        """


def is_there(root: Path, names: Sequence[str]) -> bool:
    """Are all of these files, and folders, whose names end in a slash, below ``root``?"""
    return all(
        (root / name).is_dir() if name.endswith("/") else (root / name).is_file() for name in names
    )
