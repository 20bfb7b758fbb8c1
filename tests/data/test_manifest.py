"""The manifest's contract: what is refused, and that a sentence names counts, never a patient."""

import os
from pathlib import Path

import pandas as pd
import pytest

from echofm_core.data.manifest import (
    LATER,
    files_of,
    load_manifest,
    manifest_from_rows,
    save_manifest,
    validate,
)
from echofm_core.runtime.errors import ManifestError

ROW = {
    "dataset": "camus", "patient_id": "secret-patient", "clip_id": "c1", "path": "/x", "ef": 55.0,
    "split": "train",
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"ef": 120.0}, "1 value of `ef` is outside [0, 100] %"),
        ({"esv": -3.0}, "1 value of `esv` is outside [1, 1000] ml"),
        ({"as_grade": 7}, "`as_grade` is outside [0, 4]"),
        ({"view": "AP4"}, "`view` holds ['AP4']"),
        ({"split": "TRAIN"}, "`split` holds ['TRAIN']"),
        ({"patient_id": None}, "1 row without `patient_id`"),
    ],
)
def test_a_broken_row_is_refused_without_naming_the_patient(
    change: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ManifestError) as caught:
        manifest_from_rows([{**ROW, **change}])
    assert sentence in str(caught.value)
    assert "secret-patient" not in str(caught.value)


def test_a_patient_in_two_splits_is_refused() -> None:
    with pytest.raises(ManifestError, match="1 patient is in more than one split"):
        manifest_from_rows([ROW, {**ROW, "clip_id": "c2", "split": "test"}])


def test_a_clip_id_twice_is_refused() -> None:
    with pytest.raises(ManifestError, match="1 clip id that is there twice"):
        manifest_from_rows([ROW, ROW])


def test_missing_stays_null_through_parquet(tmp_path: Path) -> None:
    save_manifest(manifest_from_rows([ROW]), tmp_path / "m.parquet")
    table = load_manifest(tmp_path / "m.parquet")
    assert table["fps"].isna().all() and table["ef"].tolist() == [55.0]
    assert [path.name for path in tmp_path.iterdir()] == ["m.parquet"]


def test_a_manifest_of_an_earlier_version_is_read_on(tmp_path: Path) -> None:
    """Its later columns are empty; one that was always there must be there."""
    old = manifest_from_rows([ROW]).drop(columns=list(LATER))
    old.to_parquet(tmp_path / "m.parquet")
    table = load_manifest(tmp_path / "m.parquet")
    assert table[list(LATER)].isna().all(axis=None) and table["ef"].tolist() == [55.0]
    old.drop(columns="quality").to_parquet(tmp_path / "m.parquet")
    with pytest.raises(ManifestError, match=r"missing \['quality'\]"):
        load_manifest(tmp_path / "m.parquet")


def test_a_class_of_stenosis_follows_from_the_grade(tmp_path: Path) -> None:
    """Grades 0 to 4 are none, early, early, significant, significant; of a class no grade follows.
    A manifest of before the column is the same; where the column is there, null stays null."""
    ids = [{**ROW, "patient_id": f"p{n}", "clip_id": f"c{n}"} for n in range(7)]
    labels = [*({"as_grade": grade} for grade in range(5)), {"as_class": 2}, {}]
    table = manifest_from_rows([{**a, **b} for a, b in zip(ids, labels, strict=True)])
    assert table["as_class"].tolist() == [0, 1, 1, 2, 2, 2, pd.NA]
    assert table["as_grade"].tolist() == [0, 1, 2, 3, 4, pd.NA, pd.NA]
    path = tmp_path / "m.parquet"
    table[:5].drop(columns="as_class").to_parquet(path)
    pd.testing.assert_frame_equal(load_manifest(path), table[:5])
    hidden = table.assign(as_class=pd.array([pd.NA] * 7, "Int32"))
    save_manifest(hidden, path)
    pd.testing.assert_frame_equal(load_manifest(path), hidden)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({"as_class": 3}, r"1 value of `as_class` is outside \[0, 2\]"),
        ({"as_grade": 3, "as_class": 1}, "1 value of `as_class` is not the class of `as_grade`"),
    ],
)
def test_a_class_that_cannot_be_is_refused(labels: dict[str, int], words: str) -> None:
    with pytest.raises(ManifestError, match=words):
        manifest_from_rows([{**ROW, **labels}])


@pytest.mark.parametrize("content", [b"", b"junk", b"PAR1junkPAR1"])
def test_a_damaged_file_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.parquet"
    path.write_bytes(content)
    with pytest.raises(ManifestError, match="cannot be read"):
        load_manifest(path)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ManifestError, match=r"missing \['ef'\]"):
        validate(manifest_from_rows([ROW]).drop(columns="ef"))


def test_unknown_columns_are_refused() -> None:
    with pytest.raises(ManifestError, match="name_of_patient"):
        manifest_from_rows([{**ROW, "name_of_patient": "x"}])
    assert isinstance(manifest_from_rows([ROW]), pd.DataFrame)


def test_files_of_a_clip() -> None:
    """A time of day in a name is no separator; stills are parted where a path begins."""
    assert files_of("/data/2024-01-01T10:30:00.dcm") == [Path("/data/2024-01-01T10:30:00.dcm")]
    stills = [Path("/data/a:1/x.png"), Path("/data/b.png")]
    assert files_of(os.pathsep.join(map(str, stills))) == stills
