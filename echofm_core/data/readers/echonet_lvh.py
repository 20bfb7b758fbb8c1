"""EchoNet-LVH (Stanford): parasternal long-axis AVI videos, measured for wall thickness.

Layout: ``MeasurementsList.csv``, several rows a video, and ``Batch1/`` to ``Batch4/`` with the
videos, in some downloads one folder deeper. Source: Duffy 2022.

Wall thickness is no task here, so the clips come without labels: they serve pre-training and the
task ``view``. One video is one patient.
"""

from pathlib import Path

import pandas as pd

from echofm_core.data.findings import Findings, Severity
from echofm_core.data.manifest import Split, manifest_from_rows
from echofm_core.data.readers._source import count, frame_rate, safe_name, usable_file
from echofm_core.data.readers._splits import most_held_out
from echofm_core.data.readers._tables import all_train_without, read_table

TABLE = "MeasurementsList.csv"
SPLITS = {"train": Split.TRAIN, "val": Split.VALIDATION, "test": Split.TEST}


class EchoNetLvhReader:
    """Reads the release as downloaded."""

    dataset = "echonet_lvh"
    public = True

    def find(self, root: Path) -> bool:
        """Is this layout at ``root``?"""
        return (root / TABLE).is_file()

    def read(self, root: Path) -> tuple[pd.DataFrame, Findings]:
        """Manifest of the measured videos that are there."""
        findings = Findings()
        videos = self._videos(root, findings)
        table = read_table(root / TABLE, ("HashedFileName",), ("split",))
        all_train_without(table, "split", "train", self.dataset, findings)
        rows: list[dict[str, object]] = []
        listed: set[str] = set()
        for index, values in enumerate(table.rows):
            name = values["HashedFileName"].removesuffix(".avi")
            split = SPLITS.get(values["split"].lower())
            if not name or name != safe_name(name):
                reason = "The row names no video."
                findings.add(self.dataset, "bad_path", table.item(index), reason)
                continue
            if split is None:
                reason = "`split` is none of train, val, test; the row's split is not used."
                findings.add(
                    self.dataset, "unknown_split", table.item(index), reason, Severity.REPAIRED
                )
            if name in listed:  # one more measurement of the same video
                rows.append({"patient_id": name, "split": split})
                continue
            listed.add(name)
            row = self._row(root, name, videos.get(name), values, findings)
            if row is not None:
                rows.append({**row, "split": split, "source_row": index})
        self._check_unlisted(root, videos, listed, findings)
        rows = most_held_out(rows, self.dataset, findings)
        return manifest_from_rows(row for row in rows if "path" in row), findings

    def _videos(self, root: Path, findings: Findings) -> dict[str, Path]:
        """Videos by name; of two with one name, the first batch's."""
        videos: dict[str, Path] = {}
        for folder in ("Batch*", "Batch*/*", "videos", "Videos"):
            pattern = f"{folder}/*.[aA][vV][iI]"
            for path in sorted(root.glob(pattern)):
                if path.stem in videos:
                    item = path.relative_to(root).as_posix()
                    reason = "A video of this name is in an earlier batch, which is used."
                    findings.add(self.dataset, "duplicate_file", item, reason)
                else:
                    videos[path.stem] = path
        return videos

    def _row(
        self,
        root: Path,
        name: str,
        video: Path | None,
        values: dict[str, str],
        findings: Findings,
    ) -> dict[str, object] | None:
        if video is None:
            findings.add(self.dataset, "missing_file", f"{name}.avi", "Measured, in no batch.")
            return None
        path = usable_file(root, video.relative_to(root).as_posix(), self.dataset, findings)
        if path is None:
            return None
        return {
            "dataset": self.dataset,
            "patient_id": name,
            "study_id": name,
            "clip_id": name,
            "path": str(path),
            "view": "PLAX",
            "n_frames": count(values.get("Frames")),
            "fps": frame_rate(values.get("FPS")),
            "height": count(values.get("Height")),
            "width": count(values.get("Width")),
        }

    def _check_unlisted(
        self, root: Path, videos: dict[str, Path], listed: set[str], findings: Findings
    ) -> None:
        for name in sorted(set(videos) - listed):
            item = videos[name].relative_to(root).as_posix()
            reason = f"The file is not in {TABLE}, so it has no split."
            findings.add(self.dataset, "unlisted_file", item, reason)
