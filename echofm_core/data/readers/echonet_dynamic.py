"""EchoNet-Dynamic (Stanford): apical four-chamber AVI videos with EF and volumes.

Layout: ``FileList.csv``, ``VolumeTracings.csv``, ``Videos/*.avi``. Source: Ouyang 2020.
"""

from collections import Counter
from pathlib import Path

import pandas as pd

from echofm_core.data.findings import Findings, Severity
from echofm_core.data.manifest import Split, manifest_from_rows
from echofm_core.data.readers._source import (
    count,
    frame_rate,
    label,
    number,
    safe_name,
    settle,
    usable_file,
    volumes_in_order,
)
from echofm_core.data.readers._tables import Table, all_train_without, read_table
from echofm_core.runtime.errors import DataRootError
from echofm_core.tasks import Task

SPLITS = {"TRAIN": Split.TRAIN, "VAL": Split.VALIDATION, "TEST": Split.TEST}
#: Native size of the release; six videos have another.
SIDE = 112
#: Rows of a well-formed tracing of one frame: the long axis and twenty discs.
TRACING_ROWS = 21


class EchoNetDynamicReader:
    """Reads the release as downloaded. One video is one patient."""

    dataset = "echonet_dynamic"
    public = True

    def find(self, root: Path) -> bool:
        """Is this layout at ``root``?"""
        return (root / "FileList.csv").is_file() and (root / "Videos").is_dir()

    def read(self, root: Path) -> tuple[pd.DataFrame, Findings]:
        """Manifest of the listed videos that are there."""
        findings = Findings()
        table = read_table(root / "FileList.csv", ("FileName", "EF", "ESV", "EDV"), ("Split",))
        all_train_without(table, "Split", "TRAIN", self.dataset, findings)
        rows: list[dict[str, object]] = []
        seen: dict[str, dict[str, object]] = {}
        for index, values in enumerate(table.rows):
            row = self._row(root, table, index, values, findings)
            if row is None:
                continue
            first = seen.setdefault(str(row["clip_id"]), row)
            if first is row:
                rows.append(row)
            else:
                settle(first, row, self.dataset, table.item(index), findings)
        self._check_unlisted(root, {values["FileName"] for values in table.rows}, findings)
        self._check_tracings(root, rows, findings)
        return manifest_from_rows(rows), findings

    def _row(
        self, root: Path, table: Table, index: int, values: dict[str, str], findings: Findings
    ) -> dict[str, object] | None:
        item = table.item(index)
        name = _video_id(values["FileName"])
        if not name:
            findings.add(self.dataset, "bad_path", item, "The row names no file in Videos/.")
            return None
        path = usable_file(root, f"Videos/{name}.avi", self.dataset, findings)
        if path is None:
            return None
        split = SPLITS.get(values["Split"].upper())
        if split is None:
            reason = "`Split` is none of TRAIN, VAL, TEST; the clip is used without one."
            findings.add(self.dataset, "unknown_split", item, reason, Severity.REPAIRED)
        height, width = count(values.get("FrameHeight")), count(values.get("FrameWidth"))
        if (height, width) not in ((SIDE, SIDE), (None, None)):
            reason = f"The video is {width} x {height}, not {SIDE} x {SIDE}; it is resized."
            findings.add(self.dataset, "odd_size", f"Videos/{name}.avi", reason, Severity.REPAIRED)
        return {
            "dataset": self.dataset,
            "patient_id": name,
            "study_id": name,
            "clip_id": safe_name(name),
            "path": str(path),
            "view": "A4C",
            "split": split,
            "n_frames": count(values.get("NumberOfFrames")),
            "fps": frame_rate(values.get("FPS")),
            "height": height,
            "width": width,
            "source_row": index,
            **self._labels(values, item, findings),
        }

    def _labels(
        self, values: dict[str, str], item: str, findings: Findings
    ) -> dict[str, float | None]:
        labels = {
            task.value: label(values[task.value.upper()], task, self.dataset, item, findings)
            for task in (Task.EF, Task.EDV, Task.ESV)
        }
        return volumes_in_order(labels, self.dataset, item, findings)

    def _check_unlisted(self, root: Path, listed: set[str], findings: Findings) -> None:
        names = {_video_id(name) for name in listed}
        for path in sorted((root / "Videos").iterdir()):
            if path.stem not in names and path.is_file():
                reason = "The file is not in FileList.csv, so it has no split and no label."
                findings.add(self.dataset, "unlisted_file", f"Videos/{path.name}", reason)

    def _check_tracings(
        self, root: Path, rows: list[dict[str, object]], findings: Findings
    ) -> None:
        """Note what is wrong with the tracings; the clip and its labels do not depend on them."""
        try:
            table = read_table(
                root / "VolumeTracings.csv", ("FileName", "X1", "Y1", "X2", "Y2", "Frame")
            )
        except DataRootError as error:
            findings.add(
                self.dataset, "no_tracings", "VolumeTracings.csv", str(error), Severity.REPAIRED
            )
            return
        known = {str(row["clip_id"]): row for row in rows}
        listed = Counter((_video_id(row["FileName"]), row["Frame"]) for row in table.rows)
        traced = {name for name, _ in listed}
        self._note(findings, "tracing_without_video", sorted(traced - set(known)))
        self._note(findings, "video_without_tracing", sorted(set(known) - traced))
        odd = {name for (name, _), count in listed.items() if count != TRACING_ROWS}
        self._note(findings, "odd_tracing_rows", sorted(odd & set(known)))
        outside = set()
        for row in table.rows:
            name = _video_id(row["FileName"])
            if name in known and _is_outside(row, known[name]):
                outside.add(name)
        self._note(findings, "tracing_outside_frame", sorted(outside))

    def _note(self, findings: Findings, kind: str, names: list[str]) -> None:
        for name in names:
            reason = f"VolumeTracings.csv: {kind.replace('_', ' ')}; tracings are not used."
            findings.add(self.dataset, kind, f"Videos/{name}.avi", reason, Severity.REPAIRED)


def _video_id(name: str) -> str:
    """FileList names a video without suffix, VolumeTracings with; "" where it is no plain name."""
    name = name.strip().removesuffix(".avi").removesuffix(".AVI")
    return name if name == safe_name(name) else ""


def _is_outside(row: dict[str, str], video: dict[str, object]) -> bool:
    limits = {"X": video["width"] or SIDE, "Y": video["height"] or SIDE}
    points = [(number(row[name]), limits[name[0]]) for name in ("X1", "X2", "Y1", "Y2")]
    return any(value is None or not 0 <= value <= float(str(limit)) for value, limit in points)
