from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from echofm_core.data.findings import Findings
from echofm_core.data.readers.echonet_dynamic import EchoNetDynamicReader
from echofm_core.runtime.errors import DataRootError
from tests.data.files import speckle, write_avi

HEADER = "FileName,EF,ESV,EDV,FrameHeight,FrameWidth,FPS,NumberOfFrames,Split\n"
GOOD = "0XA,60,40,100,112,112,50,12,TRAIN\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "Videos").mkdir()
    for name in ("0XA", "0XB", "0XC", "0XD"):
        write_avi(tmp_path / "Videos" / f"{name}.avi", speckle(12, 112, 112))
    _trace(tmp_path, {"0XA": (21, 50.0)})
    return tmp_path


def read(root: Path, rows: str) -> tuple[pd.DataFrame, Findings]:
    (root / "FileList.csv").write_text(HEADER + rows)
    return EchoNetDynamicReader().read(root)


def kinds(findings: Findings) -> dict[str, list[str]]:
    table = findings.table()
    return {str(kind): list(part["item"]) for kind, part in table.groupby("kind")}


def test_a_row_as_published(root: Path) -> None:
    manifest, _ = read(root, GOOD)
    row = manifest.iloc[0]
    assert row["path"] == str(root / "Videos" / "0XA.avi")
    assert (row["patient_id"], row["view"], row["split"]) == ("0XA", "A4C", "train")
    assert (row["ef"], row["esv"], row["edv"]) == (60, 40, 100)
    assert (row["n_frames"], row["fps"], row["source_row"]) == (12, 50, 0)
    assert pd.isna(row["site"])


def test_everything_that_is_known_to_go_wrong(root: Path) -> None:
    (root / "Videos" / "0XE.avi").write_bytes(b"")
    _trace(root, {"0XA": (42, 50.0), "0XB": (21, 119.9), "0XLOST": (21, 50.0)})
    manifest, findings = read(
        root,
        GOOD
        + "0XB,140,40,100,112,112,50,12,VAL\n"  # EF over 100
        + "0XC,60,-4,100,768,1024,50,12,TEST\n"  # volume below 0, odd size, no tracing
        + "0XMISSING,60,40,100,112,112,50,12,TRAIN\n"
        + "0XE,60,40,100,112,112,50,12,TRAIN\n"
        + "../../etc/passwd,60,40,100,112,112,50,12,TRAIN\n"
        + GOOD
        + "0XD,,,,,,,,HOLDOUT\n",
    )
    assert manifest["clip_id"].tolist() == ["0XA", "0XB", "0XC", "0XD"]
    assert manifest["split"].tolist()[:3] == ["train", "val", "test"]
    assert manifest["split"].isna().tolist() == [False, False, False, True]
    assert manifest["ef"].isna().tolist() == [False, True, False, True]
    assert pd.isna(manifest["esv"][2])
    assert kinds(findings) == {
        "label_out_of_range": ["FileList.csv:1", "FileList.csv:2"],
        "odd_size": ["Videos/0XC.avi"],
        "missing_file": ["Videos/0XMISSING.avi"],
        "empty_file": ["Videos/0XE.avi"],
        "bad_path": ["FileList.csv:5"],
        "duplicate_row": ["FileList.csv:6"],
        "unknown_split": ["FileList.csv:7"],
        "tracing_without_video": ["Videos/0XLOST.avi"],
        "video_without_tracing": ["Videos/0XC.avi", "Videos/0XD.avi"],
        "odd_tracing_rows": ["Videos/0XA.avi"],
        "tracing_outside_frame": ["Videos/0XB.avi"],
    }


def test_systole_larger_than_diastole_loses_its_labels(root: Path) -> None:
    manifest, findings = read(root, "0XA,60,100,40,112,112,50,12,TRAIN\n")
    assert manifest[["ef", "esv", "edv"]].isna().all(axis=None)
    assert "label_out_of_range" in kinds(findings)


def test_unlisted_videos_are_not_used(root: Path) -> None:
    manifest, findings = read(root, GOOD)
    assert len(manifest) == 1
    assert len(kinds(findings)["unlisted_file"]) == 3


def test_a_release_without_tracings_is_read(root: Path) -> None:
    (root / "VolumeTracings.csv").unlink()
    manifest, findings = read(root, GOOD)
    assert len(manifest) == 1
    assert "no_tracings" in kinds(findings)


def test_a_list_without_ef_is_refused(root: Path) -> None:
    (root / "FileList.csv").write_text("FileName,Split\n0XA,TRAIN\n")
    with pytest.raises(DataRootError, match="EF"):
        EchoNetDynamicReader().read(root)


def _trace(root: Path, videos: dict[str, tuple[int, float]]) -> None:
    """Tracings of one frame a video: how many rows, and the x of one end of each."""
    lines = [
        f"{name}.avi,{x},20,30,40,7" for name, (count, x) in videos.items() for _ in range(count)
    ]
    text = "FileName,X1,Y1,X2,Y2,Frame\n" + "\n".join(lines)
    (root / "VolumeTracings.csv").write_text(text)


def test_without_a_column_for_the_split_all_train_and_that_is_said(root: Path) -> None:
    (root / "FileList.csv").write_text("FileName,EF,ESV,EDV\n0XA,60,40,100\n0XB,60,40,100\n")
    manifest, findings = EchoNetDynamicReader().read(root)
    assert manifest["split"].tolist() == ["train", "train"]
    assert kinds(findings)["no_split_column"] == ["FileList.csv"]


def test_an_ending_in_capitals_is_the_same_video(root: Path) -> None:
    (root / "Videos/0XB.avi").rename(root / "Videos/0XB.AVI")
    manifest, _ = read(root, GOOD + GOOD.replace("0XA", "0XB"))
    assert [Path(path).name for path in manifest["path"]] == ["0XA.avi", "0XB.AVI"]


def test_rows_that_disagree_about_a_video_give_no_label(root: Path) -> None:
    """Of 100 to 40 ml, EF is 60; a second row says 12."""
    manifest, findings = read(root, GOOD + GOOD.replace("60", "12"))
    assert manifest["ef"].isna().tolist() == [True]
    assert manifest["edv"].tolist() == [100]
    assert kinds(findings)["rows_disagree"] == ["FileList.csv:1"]
