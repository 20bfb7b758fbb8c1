from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from echofm_core.data.config import DataConfig, Development, Tmed2Config, Tmed2Form
from echofm_core.data.findings import Findings
from echofm_core.data.parallel import MANY
from echofm_core.data.readers.registry import read_roots
from echofm_core.data.readers.tmed2 import Tmed2Reader
from echofm_core.data.store.build import build_store
from echofm_core.data.windows import ClipWindows
from echofm_core.runtime.errors import DataRootError
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


def found(
    root: Path, config: Tmed2Config | None = None
) -> tuple[pd.DataFrame, dict[tuple[str, str], list[str]]]:
    manifest, findings = Tmed2Reader(config).read(root)
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


def test_an_image_is_a_clip_with_its_own_view_and_its_studys_grade(root: Path) -> None:
    manifest, wrong = found(root, Tmed2Config(form=Tmed2Form.IMAGES))
    assert not wrong
    # By number, as in a study clip; image 3 is of no relevant view.
    names = ["10s1_0", "10s1_2", "10s1_10", "11s1_0", "12s1_0", "13s1_0"]
    assert manifest.index.tolist() == names
    assert manifest["path"].tolist() == [
        str(root / (BOTH if name < "13" else "view_labeled_set") / "labeled" / f"{name}.png")
        for name in names
    ]
    assert manifest["study_id"].tolist() == ["10s1"] * 3 + ["11s1", "12s1", "13s1"]
    assert manifest["view"].tolist() == ["PLAX", "PSAX", "A4C", "PLAX", "PLAX", "A2C"]
    assert manifest["as_grade"].fillna(-1).tolist() == [4, 4, 4, 2, 0, -1]
    assert manifest["split"].tolist() == ["train"] * 3 + ["val", "test", "train"]
    assert manifest["source_row"].tolist() == [0, 2, 1, 4, 5, 6]
    assert (manifest["n_frames"] == 1).all()


def test_an_image_is_played_as_equal_frames(root: Path, tmp_path: Path) -> None:
    """Through the registry, the clip store and the windows, in training and in tests."""
    config = DataConfig(size=32, frames=4, tmed2=Tmed2Config(form=Tmed2Form.IMAGES))
    manifest, _ = read_roots([root], config)
    store, refused = build_store(manifest, tmp_path / "store", config)
    assert not refused.items
    windows = ClipWindows(store, manifest, config)
    assert len(windows) == 6
    for index in range(6):
        drawn = windows.cut(index, windows.timelines[index].draw(np.random.default_rng(0)))
        for window in (drawn, *windows.test_windows(index)):
            assert window.frames.shape == (4, 32, 32) and window.frames.any()
            assert (window.frames == window.frames[0]).all() and not window.times.any()


def test_a_bag_has_the_rows_of_a_study_clip(root: Path) -> None:
    bag, _ = found(root, Tmed2Config(form=Tmed2Form.BAG))
    pd.testing.assert_frame_equal(bag, found(root)[0])


def other_fold(root: Path, name: str, splits: dict[str, str]) -> None:
    """A fold's table with the studies in ``splits`` alone."""
    lines = (root / FOLD).read_text().split("\n")
    rows = [
        line.rsplit(",", 2)[0] + f",{split},{split}"
        for line in lines[1:]
        if (split := splits.get(line.partition("_")[0]))
    ]
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text("\n".join([lines[0], *rows]))


def test_the_fold_and_the_development_set_are_chosen(root: Path) -> None:
    other_fold(root, FOLD.replace("fold0", "fold2"), {"10s1": "test", "11s1": "train"})
    other_fold(root, "DEV56/TMED2_fold1_labeledpart.csv", {"11s1": "train", "12s1": "test"})
    manifest, wrong = found(root, Tmed2Config(fold=2))
    assert manifest["split"].fillna("-").tolist() == ["test", "train", "-", "-"]
    manifest, wrong = found(root, Tmed2Config(development=Development.DEV56, fold=1))
    # 10s1 is graded, but not in this set: nobody may learn from its grade.
    assert wrong == {("outside_split", "noted"): ["TMED2_fold1_labeledpart.csv"]}
    assert manifest["split"].fillna("-").tolist() == ["-", "train", "test", "-"]
    assert manifest["as_grade"].fillna(-1).tolist() == [-1, 2, 0, -1]


def test_a_fold_that_is_not_there_is_one_sentence(root: Path) -> None:
    with pytest.raises(DataRootError, match=r"asks for fold 1 of DEV165, but .* is not there"):
        found(root, Tmed2Config(development=Development.DEV165, fold=1))


def test_many_images_are_checked_by_several_processes(root: Path) -> None:
    """Two are damaged: the plain loop's findings, in the order of the table."""
    images = [(f"20s1_{number}.png", "PLAX", "no_AS", BOTH, "train") for number in range(MANY)]
    folder = root / BOTH / "labeled"
    write_png(folder / "20s1_0.png", speckle(1, 16, 16)[0])
    for name, *_ in images[1:]:
        (folder / name).hardlink_to(folder / "20s1_0.png")
    for name in ("20s1_7.png", "20s1_1999.png"):
        (folder / name).unlink()
        (folder / name).write_bytes(b"\x89PNG junk")
    build(root, [*IMAGES, *images])
    manifest, wrong = found(root)
    assert wrong == {("undecodable", "quarantined"): ["20s1_7.png", "20s1_1999.png"]}
    assert manifest.loc["20s1", "n_frames"] == MANY - 2
