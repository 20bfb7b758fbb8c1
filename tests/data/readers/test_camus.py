from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from echofm_core.data.readers.camus import CamusReader
from tests.data.files import speckle, write_nifti

SETTINGS = (
    "ED: 1\nES: 12\nNbFrame: 12\nSex: F\nAge: 56\nImageQuality: Good\nEF: 54\nFrameRate: 48.4\n"
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four patients with scattered splits."""
    for number in (1, 2, 3, 4):
        folder = tmp_path / "database_nifti" / f"patient{number:04}"
        folder.mkdir(parents=True)
        for view in ("2CH", "4CH"):
            write_nifti(folder / f"{folder.name}_{view}_half_sequence.nii.gz", speckle(12, 40, 30))
            (folder / f"Info_{view}.cfg").write_text(SETTINGS)
    split = tmp_path / "database_split"
    split.mkdir()
    (split / "subgroup_training.txt").write_text("patient0002\npatient0004\n")
    (split / "subgroup_validation.txt").write_text("patient0003\n")
    (split / "subgroup_testing.txt").write_text("patient0001\n")
    return tmp_path


def found(root: Path) -> tuple[pd.DataFrame, dict[tuple[str, str], list[str]]]:
    manifest, findings = CamusReader().read(root)
    groups = findings.table().groupby(["kind", "severity"])
    return manifest.set_index("clip_id"), {key: list(part["item"]) for key, part in groups}


def test_both_views_with_the_official_split(root: Path) -> None:
    manifest, wrong = found(root)
    assert not wrong
    assert len(manifest) == 8
    row = manifest.loc["patient0001_4CH"]
    assert (row["view"], row["split"], row["patient_id"]) == ("A4C", "test", "patient0001")
    assert (row["n_frames"], row["height"], row["width"]) == (12, 40, 30)
    assert (row["ef"], row["age"], row["sex"], row["quality"]) == (54, 56, "F", "Good")
    assert row["fps"] == pytest.approx(48.4)
    assert pd.isna(row["edv"])
    assert manifest.loc["patient0003_2CH", ["view", "split"]].tolist() == ["A2C", "val"]
    assert manifest["depth_cm"].isna().all(), "pixels of 1 x 1 are a header that nobody set"


def test_the_depth_is_that_of_all_rows(root: Path) -> None:
    """40 rows of 3 mm are 12 cm."""
    folder = root / "database_nifti/patient0001"
    file = folder / "patient0001_4CH_half_sequence.nii.gz"
    write_nifti(file, speckle(12, 40, 30), pixel=(4.0, 3.0))
    assert found(root)[0].loc["patient0001_4CH", "depth_cm"] == pytest.approx(12.0)


def test_everything_that_is_known_to_go_wrong(root: Path) -> None:
    one, two, three, four = (root / "database_nifti" / f"patient{n:04}" for n in (1, 2, 3, 4))
    (one / "Info_4CH.cfg").write_text(SETTINGS.replace("ED: 1\nES: 12", "ED: 12\nES: 1"))
    (one / "Info_2CH.cfg").write_text(SETTINGS.replace("EF: 54", "EF: 154"))
    (two / "Info_4CH.cfg").unlink()
    (two / "patient0002_2CH_half_sequence.nii.gz").unlink()
    (three / "Info_2CH.cfg").write_text(SETTINGS.replace("NbFrame: 12", "NbFrame: 18"))
    (three / "patient0003_4CH_half_sequence.nii.gz").write_bytes(b"")
    (four / "patient0004_4CH_half_sequence.nii.gz").write_bytes(b"\x1f\x8bjunk")
    with (root / "database_split" / "subgroup_testing.txt").open("a") as stream:
        stream.write("patient0002\npatient0099\n")
    manifest, wrong = found(root)

    def item(number: int, view: str) -> str:
        name = f"patient{number:04}"
        return f"database_nifti/{name}/{name}_{view}_half_sequence.nii.gz"

    assert wrong == {
        ("es_before_ed", "repaired"): [item(1, "4CH")],
        ("label_out_of_range", "repaired"): [item(1, "2CH")],
        ("no_settings", "repaired"): [item(2, "4CH")],
        ("missing_file", "quarantined"): [item(2, "2CH"), "database_nifti/patient0099"],
        ("frame_count", "repaired"): [item(3, "2CH")],
        ("empty_file", "quarantined"): [item(3, "4CH")],
        ("undecodable", "quarantined"): [item(4, "4CH")],
        ("patient_in_two_splits", "repaired"): ["patient0002"],
    }
    assert len(manifest) == 5
    assert manifest.loc["patient0002_4CH", "split"] == "test"
    assert pd.isna(manifest.loc["patient0002_4CH", "ef"])


def test_without_split_lists(root: Path) -> None:
    for file in (root / "database_split").iterdir():
        file.unlink()
    manifest, wrong = found(root)
    assert manifest["split"].isna().all()
    assert len(wrong["no_split_file", "repaired"]) == 3


def test_settings_of_the_earlier_release(root: Path) -> None:
    text = SETTINGS.replace("EF: 54", "LVedv: 90.5\nLVesv: 41\nLVef: 54.7")
    (root / "database_nifti" / "patient0001" / "Info_4CH.cfg").write_text(text)
    row = found(root)[0].loc["patient0001_4CH"]
    assert [float(row[name]) for name in ("edv", "esv", "ef")] == pytest.approx([90.5, 41, 54.7])


def test_settings_that_are_not_text(root: Path) -> None:
    (root / "database_nifti" / "patient0001" / "Info_4CH.cfg").write_bytes(b"\xff\xfe\0ED")
    manifest, _ = found(root)
    assert pd.isna(manifest.loc["patient0001_4CH", "ef"])
