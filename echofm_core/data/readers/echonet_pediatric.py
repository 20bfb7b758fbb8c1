"""EchoNet-Pediatric (Lucile Packard, Stanford): children's AVI videos with EF, two views.

Layout: ``A4C/`` and ``PSAX/``, each with ``FileList.csv``, ``VolumeTracings.csv`` and ``Videos/``;
the archive nests them twice. Source: Reddy 2023.

Choices: the first token of a file name is the patient; fold 0 is the test split and fold 1 the
validation split, as benchmarks on it use them; a patient in several folds goes to the one that is
held out more. EF is by area and length, and there are no volumes.
"""

from pathlib import Path

import pandas as pd

from echofm_core.data.findings import Findings, Severity
from echofm_core.data.manifest import Split, manifest_from_rows
from echofm_core.data.readers._source import (
    integer,
    label,
    positive,
    safe_name,
    settle,
    sex_of,
    usable_file,
)
from echofm_core.data.readers._splits import most_held_out
from echofm_core.data.readers._tables import all_train_without, read_table
from echofm_core.runtime.errors import DataRootError
from echofm_core.tasks import Task

VIEWS = ("A4C", "PSAX")
FOLDS = {0: Split.TEST, 1: Split.VALIDATION, **dict.fromkeys(range(2, 10), Split.TRAIN)}


class EchoNetPediatricReader:
    """Reads the release as downloaded, both views."""

    dataset = "echonet_pediatric"
    public = True

    def find(self, root: Path) -> bool:
        """Is this layout at ``root``?"""
        return any(_has_view(root, view) for view in VIEWS)

    def read(self, root: Path) -> tuple[pd.DataFrame, Findings]:
        """Manifest of the listed videos that are there."""
        findings = Findings()
        rows: list[dict[str, object]] = []
        for view in VIEWS:
            if _has_view(root, view):
                rows += self._view(root, view, findings)
            else:
                reason = "The view has no FileList.csv and Videos/; the other view is used alone."
                findings.add(self.dataset, "missing_view", view, reason, Severity.REPAIRED)
        rows = most_held_out(rows, self.dataset, findings)
        return manifest_from_rows(rows), findings

    def _view(self, root: Path, view: str, findings: Findings) -> list[dict[str, object]]:
        table = read_table(root / view / "FileList.csv", ("FileName", "EF"), ("Split",))
        all_train_without(table, "Split", "2", self.dataset, findings)
        rows: list[dict[str, object]] = []
        seen: dict[str, dict[str, object] | None] = {}
        for index, values in enumerate(table.rows):
            item = f"{view}/{table.item(index)}"
            name = values["FileName"].removesuffix(".avi").removesuffix(".AVI")
            if not name or name != safe_name(name):
                findings.add(self.dataset, "bad_path", item, "The row names no file in Videos/.")
            elif name not in seen:
                row = self._row(root, view, name, values, item, findings)
                seen[name] = row
                if row is not None:
                    row["source_row"] = index
                    rows.append(row)
            elif (first := seen[name]) is not None:
                ef = label(values["EF"], Task.EF, self.dataset, item, findings)
                settle(first, {"ef": ef}, self.dataset, item, findings)
        for path in sorted((root / view / "Videos").iterdir()):
            if path.stem not in seen and path.is_file():
                reason = "The file is not in FileList.csv, so it has no split and no label."
                findings.add(self.dataset, "unlisted_file", f"{view}/Videos/{path.name}", reason)
        self._check_tracings(root, view, set(seen), findings)
        return rows

    def _row(
        self,
        root: Path,
        view: str,
        name: str,
        values: dict[str, str],
        item: str,
        findings: Findings,
    ) -> dict[str, object] | None:
        path = usable_file(root, f"{view}/Videos/{name}.avi", self.dataset, findings)
        if path is None:
            return None
        split = FOLDS.get(fold) if (fold := integer(values["Split"])) is not None else None
        if split is None:
            reason = "`Split` is no fold from 0 to 9; the clip is used without one."
            findings.add(self.dataset, "unknown_split", item, reason, Severity.REPAIRED)
        return {
            "dataset": self.dataset,
            "patient_id": name.partition("-")[0],
            "study_id": "-".join(name.split("-")[:2]),
            "clip_id": f"{view}_{name}",
            "path": str(path),
            "view": view,
            "split": split,
            "sex": sex_of(values.get("Sex")),
            "age": positive(values.get("Age")),
            "ef": label(values["EF"], Task.EF, self.dataset, item, findings),
        }

    def _check_tracings(self, root: Path, view: str, videos: set[str], findings: Findings) -> None:
        """Note frames that are not numbered; clips and labels do not depend on tracings."""
        item = f"{view}/VolumeTracings.csv"
        try:
            table = read_table(root / item, ("FileName", "X", "Y", "Frame"))
        except DataRootError as error:
            findings.add(self.dataset, "no_tracings", item, str(error), Severity.REPAIRED)
            return
        unnumbered, unlisted = set(), set()
        for values in table.rows:
            name = values["FileName"].removesuffix(".avi")
            if name not in videos:
                unlisted.add(name)
            elif integer(values["Frame"]) is None:
                unnumbered.add(name)
        for kind, names in (
            ("tracing_without_frame", unnumbered),
            ("tracing_without_video", unlisted),
        ):
            for name in sorted(names):
                reason = f"VolumeTracings.csv: {kind.replace('_', ' ')}; tracings are not used."
                where = f"{view}/Videos/{safe_name(name)}.avi"
                findings.add(self.dataset, kind, where, reason, Severity.REPAIRED)


def _has_view(root: Path, view: str) -> bool:
    return (root / view / "FileList.csv").is_file() and (root / view / "Videos").is_dir()
