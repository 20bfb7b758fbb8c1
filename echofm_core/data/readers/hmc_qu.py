"""HMC-QU (Doha): apical AVI videos of patients with and without infarction.

Layout: ``A4C/*.avi`` and ``A2C/*.avi`` with irregular names, ``A4C.xlsx`` and ``A2C.xlsx`` with the
infarcted segments, and wall masks. Source: Degerli 2021.

Infarction is no task here, so the clips come without labels. The names of this release tell the
label (an ``N`` in most of the normal ones): ids are built from patient, view and take alone, and
the reader measures the leak and notes it.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from echofm_core.data.findings import Findings, Severity
from echofm_core.data.formats.sheet import read_sheet
from echofm_core.data.manifest import manifest_from_rows
from echofm_core.data.readers._source import usable_file
from echofm_core.runtime.errors import DataRootError

VIEWS = ("A4C", "A2C")
#: ``ES0001 _4CH_1``, ``ES00084 N_4CH_3``, ``ES000101_CH2_1``.
_NAME = re.compile(r"ES(?P<patient>\d+)\s*(?P<mark>[Nn]?)\s*_\s*(4CH|2CH|CH4|CH2)_(?P<take>\d+)")
#: Share of names that guess the label right above which they are said to tell it.
LEAK = 0.75


class HmcQuReader:
    """Reads the release as downloaded, both views; there is no official split."""

    dataset = "hmc_qu"
    public = True

    def find(self, root: Path) -> bool:
        """Is this layout at ``root``?"""
        return any((root / f"{view}.xlsx").is_file() and (root / view).is_dir() for view in VIEWS)

    def read(self, root: Path) -> tuple[pd.DataFrame, Findings]:
        """Manifest of the videos."""
        findings = Findings()
        rows: dict[str, dict[str, object]] = {}
        marks: list[tuple[bool, bool]] = []
        for view in VIEWS:
            infarcted = self._infarcted(root, view, findings)
            for path in self._videos(root, view):
                item = f"{view}/{path.name}"
                match = _NAME.fullmatch(path.stem.strip())
                if match is None:
                    reason = "The name is not one of this data set, so it has no patient."
                    findings.add(self.dataset, "stray_file", item, reason)
                    continue
                row = self._row(root, view, item, match, findings)
                if row is None:
                    continue
                if str(row["clip_id"]) in rows:
                    reason = "A video of the same patient, view and take was read before."
                    findings.add(self.dataset, "duplicate_file", item, reason)
                    continue
                rows[str(row["clip_id"])] = {**row, "source_row": len(rows)}
                key = _key(path.stem)
                if key in infarcted:
                    marks.append((bool(match["mark"]), infarcted.pop(key)))
                elif infarcted:
                    reason = f"{view}.xlsx has no row for the video; it is used."
                    findings.add(self.dataset, "unlisted_file", item, reason, Severity.REPAIRED)
            for key in sorted(infarcted):
                findings.add(self.dataset, "missing_file", f"{view}/{key}", "Listed, not there.")
        self._note_leak(marks, findings)
        return manifest_from_rows(rows.values()), findings

    def _videos(self, root: Path, view: str) -> Iterator[Path]:
        yield from sorted((root / view).glob("*.[aA][vV][iI]"))

    def _infarcted(self, root: Path, view: str, findings: Findings) -> dict[str, bool]:
        """Whether any segment is infarcted, by the squeezed name of the video."""
        try:
            rows = read_sheet(root / f"{view}.xlsx", ("ECHO",))
        except DataRootError as error:
            findings.add(self.dataset, "bad_table", f"{view}.xlsx", str(error), Severity.REPAIRED)
            return {}
        return {
            _key(row["ECHO"]): any(
                value.upper() == "MI" for name, value in row.items() if name.startswith("SEG")
            )
            for row in rows
            if row["ECHO"]
        }

    def _row(
        self, root: Path, view: str, item: str, match: re.Match[str], findings: Findings
    ) -> dict[str, object] | None:
        path = usable_file(root, item, self.dataset, findings)
        if path is None:
            return None
        patient = f"ES{int(match['patient']):06d}"
        return {
            "dataset": self.dataset,
            "patient_id": patient,
            "study_id": patient,
            "clip_id": f"{patient}_{view}_{match['take']}",
            "path": str(path),
            "view": view,
        }

    def _note_leak(self, marks: list[tuple[bool, bool]], findings: Findings) -> None:
        """How often an ``N`` in the name, or none, tells infarction, where both kinds occur."""
        if len({infarcted for _, infarcted in marks}) < 2:
            return
        share = sum(marked != infarcted for marked, infarcted in marks) / len(marks)
        if share > LEAK:
            reason = (
                f"The letter N in the file names tells normal from infarcted in {share:.0%} of "
                f"{len(marks)} videos; names are kept out of ids, keep them from models too."
            )
            findings.add(self.dataset, "label_in_name", "A4C/, A2C/", reason, Severity.NOTED)


def _key(name: str) -> str:
    """A name without its blanks, which the sheet and the files do not agree on."""
    return re.sub(r"\s+", "", name.upper().removesuffix(".AVI"))
