from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

from echofm_core.data.findings import Findings
from echofm_core.data.readers.tmed2 import Tmed2Reader
from tests.data.files import speckle, write_png

BOTH = "view_and_diagnosis_labeled_set"
FOLD = "DEV479/TMED2_fold0_labeledpart.csv"
#: Image, view, diagnosis, set it lies in, split.
IMAGES = [
    ("10s1_0.png", "PLAX", "severe_AS", BOTH, "train"),
    ("10s1_10.png", "A4C", "severe_AS", BOTH, "train"),
    ("10s1_2.png", "PSAX", "severe_AS", BOTH, "train"),
    ("10s1_3.png", "A4CorA2CorOther", "severe_AS", BOTH, "train"),
    ("11s1_0.png", "PLAX", "mildtomod_AS", BOTH, "val"),
    ("12s1_0.png", "PLAX", "no_AS", BOTH, "test"),
    ("13s1_0.png", "A2C", "Not_Provided", "view_labeled_set", "train"),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return build(tmp_path, IMAGES)


def build(root: Path, images: list[tuple[str, str, str, str, str]], slash: str = "") -> Path:
    """Write the images that do not exist yet, and both tables."""
    labels = ["query_key,view_label,diagnosis_label"]
    columns = "view_classifier_split,diagnosis_classifier_split"
    fold = [f"query_key,view_label,diagnosis_label,SourceFolder,{columns}"]
    for number, (name, view, grade, place, split) in enumerate(images):
        folder = root / place / "labeled"
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / name).exists():
            write_png(folder / name, speckle(1, 112, 112, seed=number)[0])
        labels.append(f"{name},{view},{grade}")
        splits = f"{split}," if place != BOTH else f"{split},{split}"
        fold.append(f"{name},{view},{grade},{slash}{place}/labeled,{splits}")
    (root / "DEV479").mkdir(exist_ok=True)
    (root / "labels_per_image.csv").write_text("\n".join(labels))
    (root / FOLD).write_text("\n".join(fold))
    return root


def found(root: Path) -> tuple[pd.DataFrame, dict[tuple[str, str], list[str]]]:
    manifest, findings = Tmed2Reader().read(root)
    return manifest.set_index("clip_id"), _by_kind(findings)


def _by_kind(findings: Findings) -> dict[tuple[str, str], list[str]]:
    groups = findings.table().groupby(["kind", "severity"])
    return {key: list(part["item"]) for key, part in groups}


def test_a_study_is_a_clip_of_its_relevant_images(root: Path) -> None:
    manifest, wrong = found(root)
    assert not wrong
    assert manifest.index.tolist() == ["10s1", "11s1", "12s1", "13s1"]
    row = manifest.loc["10s1"]
    folder = root / BOTH / "labeled"
    # By number, not by name: 0, 2, 10; image 3 is of no relevant view.
    expected = [str(folder / f"10s1_{number}.png") for number in (0, 2, 10)]
    assert row["path"].split(os.pathsep) == expected
    assert (row["patient_id"], row["n_frames"], row["as_grade"]) == ("10", 3, 4)
    assert pd.isna(row["view"])
    assert manifest["as_grade"].fillna(-1).tolist() == [4, 2, 0, -1]
    assert manifest["split"].tolist() == ["train", "val", "test", "train"]
    assert manifest.loc["13s1", "view"] == "A2C"
    assert manifest[["fps", "ef"]].isna().all(axis=None)


def test_everything_that_is_known_to_go_wrong(root: Path) -> None:
    folder = root / BOTH / "labeled"
    build(
        root,
        [
            *IMAGES,
            ("10s2_0.png", "PLAX", "mild_AS", BOTH, "test"),  # patient 10 again
            ("14s1_0.png", "A4CorA2CorOther", "no_AS", BOTH, "train"),
            ("15s1_0.png", "PLAX", "no_AS", BOTH, "train"),
            ("15s1_1.png", "PLAX", "mild_AS", BOTH, "train"),
            ("16s1_0.png", "XRAY", "awful", BOTH, "train"),
            ("17s1_0.png", "PLAX", "no_AS", BOTH, "train"),
            ("17s1_1.png", "PLAX", "no_AS", BOTH, "train"),
            ("17s1_2.png", "PLAX", "no_AS", BOTH, "train"),
            ("../../x.png", "PLAX", "no_AS", BOTH, "train"),
        ],
        slash="/",
    )
    (folder / "17s1_0.png").unlink()
    (folder / "17s1_1.png").write_bytes(b"\x89PNG junk")
    (folder / "Thumbs.db").write_bytes(b"stray")
    manifest, wrong = found(root)
    assert len(wrong.pop(("leading_slash", "repaired"))) == 16
    assert wrong == {
        ("patient_in_two_splits", "repaired"): ["10"],
        ("no_relevant_view", "quarantined"): ["14s1", "16s1"],
        ("grades_differ", "repaired"): ["15s1"],
        ("unknown_view", "quarantined"): ["labels_per_image.csv:11"],
        ("label_out_of_range", "repaired"): ["labels_per_image.csv:11"],
        ("missing_file", "quarantined"): ["17s1_0.png"],
        ("undecodable", "quarantined"): ["17s1_1.png"],
        ("bad_path", "quarantined"): ["labels_per_image.csv:15"],
        ("stray_file", "quarantined"): [f"{BOTH}/labeled/Thumbs.db"],
    }
    assert manifest.loc[["10s1", "10s2"], "split"].tolist() == ["test", "test"]
    assert pd.isna(manifest.loc["15s1", "as_grade"])
    assert manifest.loc["17s1", "n_frames"] == 1


def test_a_source_folder_may_not_leave_the_root(root: Path) -> None:
    text = (root / FOLD).read_text().replace(f"{BOTH}/labeled,test", "/../../../tmp,test")
    (root / FOLD).write_text(text)
    manifest, wrong = found(root)
    assert wrong["bad_path", "quarantined"] == ["TMED2_fold0_labeledpart.csv:5"]
    assert pd.isna(manifest.loc["12s1", "split"])


def test_labeled_in_labeled(root: Path) -> None:
    before, _ = found(root)
    folder = root / BOTH / "labeled"
    folder.rename(root / "moved")
    folder.mkdir()
    (root / "moved").rename(folder / "labeled")
    after, wrong = found(root)
    assert not wrong
    assert after["n_frames"].tolist() == before["n_frames"].tolist()


def test_without_the_split_table(root: Path) -> None:
    (root / FOLD).unlink()
    manifest, wrong = found(root)
    assert manifest["split"].isna().all()
    assert ("no_split_file", "repaired") in wrong
