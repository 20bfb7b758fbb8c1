"""Each check on clips made for it; what must not be noted stands beside what must."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from echofm_core.data.config import DataConfig
from echofm_core.data.doctor import checks
from echofm_core.data.findings import Findings
from echofm_core.data.manifest import manifest_from_rows
from echofm_core.data.store.build import build_store
from echofm_core.data.store.clip_store import ClipStore
from tests.data.files import speckle, write_avi, write_png


def rows(**columns: list[object]) -> pd.DataFrame:
    """A manifest with one clip an entry, named a, b, c ..."""
    count = len(next(iter(columns.values())))
    base = {
        "dataset": ["d"] * count,
        "clip_id": list("abcdefgh"[:count]),
        "patient_id": [f"p{number}" for number in range(count)],
        "path": ["/none"] * count,
    }
    table = pd.DataFrame({**base, **columns})
    return manifest_from_rows(table.to_dict("records"))


def items(manifest: pd.DataFrame) -> dict[str, str]:
    return {str(clip): f"file {clip}" for clip in manifest["clip_id"]}


def noted(findings: Findings) -> list[tuple[str, str]]:
    assert {item.severity.value for item in findings.items} <= {"noted"}
    return [(item.kind, item.item) for item in findings.items]


def test_ef_that_its_volumes_do_not_give() -> None:
    """100 (100 - 40) / 100 = 60: 58.1 is rounding, 57.9 is not; without volumes nothing is said."""
    manifest = rows(ef=[60, 58.1, 57.9, 62.1, 10], edv=[100] * 4 + [None], esv=[40] * 5)
    findings = Findings()
    checks.check_labels(manifest, items(manifest), findings)
    assert noted(findings) == [("ef_disagrees", "file c"), ("ef_disagrees", "file d")]
    assert "EF is 57.9 %, the volumes give 60.0 %" in findings.items[0].reason


def test_frame_rates_that_no_scanner_has() -> None:
    manifest = rows(fps=[50, 7.9, 251, None, 8])
    findings = Findings()
    checks.check_frame_rates(manifest, items(manifest), findings)
    assert noted(findings) == [("odd_frame_rate", "file b"), ("odd_frame_rate", "file c")]


def decoded(tmp_path: Path, **columns: list[object]) -> tuple[pd.DataFrame, ClipStore]:
    """a moves, b stands still, c is black, d is a's copy, e moves otherwise, f is one still."""
    moving = speckle(12, 64, 64, seed=1)
    clips = {
        "a": moving,
        "b": np.repeat(moving[:1], 12, axis=0),
        "c": np.zeros_like(moving),
        "d": moving,
        "e": speckle(12, 64, 64, seed=2),
    }
    paths = [str(write_avi(tmp_path / f"{name}.avi", frames)) for name, frames in clips.items()]
    paths.append(str(write_png(tmp_path / "f.png", moving[3])))
    manifest = rows(path=list(paths), **columns)
    store, _ = build_store(manifest, tmp_path / "store", DataConfig(size=64))
    return manifest, store


def test_black_and_frozen_clips(tmp_path: Path) -> None:
    manifest, store = decoded(tmp_path)
    findings = Findings()
    checks.check_pictures(manifest, store, items(manifest), findings)
    assert noted(findings) == [("frozen_clip", "file b"), ("blank_clip", "file c")]


def test_one_recording_under_two_names(tmp_path: Path) -> None:
    """Worst where one trains and the other tests; black clips are equal, and not said to be."""
    manifest, store = decoded(tmp_path, split=["train", "train", "train", "test", None, None])
    findings = Findings()
    checks.check_duplicates(manifest, store, items(manifest), findings)
    assert noted(findings) == [("duplicate_content", "file d")]
    assert "d file a, which is in another split (train, this: test)" in findings.items[0].reason


def test_one_recording_of_two_patients(tmp_path: Path) -> None:
    manifest, store = decoded(tmp_path)
    findings = Findings()
    checks.check_duplicates(manifest, store, items(manifest), findings)
    assert "another patient" in findings.items[0].reason
    manifest["patient_id"] = "one"
    again = Findings()
    checks.check_duplicates(manifest, store, items(manifest), again)
    assert "another patient" not in again.items[0].reason
