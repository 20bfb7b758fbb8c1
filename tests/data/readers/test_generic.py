"""A hospital's own files: mapping, ids by keyed hash, and nobody's name in a finding."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pandas as pd
import pytest

from echofm_core.data import parallel
from echofm_core.data.findings import Findings, Severity
from echofm_core.data.patients import pseudonym, write_secret
from echofm_core.data.readers import generic
from echofm_core.data.readers._source import Refusal
from echofm_core.data.readers.generic import GenericReader, _open, _Opened, read_loose
from echofm_core.runtime.errors import DataRootError
from tests.data.files import header, speckle, write_avi, write_jpeg_cine

MAPPING = """dataset = "north"
secret = "site.secret"
table = "list.csv"
[columns]
path = "File"
patient_id = "MRN"
view = "View"
split = "Part"
ef = "EF"
age = "Age"
sex = "Sex"
[views]
A4C = ["4ch"]
[splits]
test = ["holdout"]
"""
TABLE = "File,MRN,View,Part,EF,Age,Sex\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("Smith John/a.avi", "Smith John/b.avi", "c.avi"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_avi(tmp_path / name, speckle(10))
    write_secret(tmp_path / "site.secret")
    return tmp_path


def read(root: Path, rows: str, mapping: str = MAPPING) -> tuple[pd.DataFrame, Findings]:
    (root / "echofm.toml").write_text(mapping)
    (root / "list.csv").write_text(TABLE + rows)
    return GenericReader().read(root)


def secret(root: Path) -> bytes:
    return bytes.fromhex((root / "site.secret").read_text())


def test_a_row_becomes_a_clip_with_hashed_ids(root: Path) -> None:
    manifest, findings = read(root, "Smith John/a.avi,77,4CH,Holdout,55.5,93,female\n")
    (row,) = manifest.to_dict("records")
    key = secret(root)
    assert row["patient_id"] == pseudonym(key, "north/patient", "77")
    assert row["clip_id"] == "north-" + pseudonym(key, "north/clip", "Smith John/a.avi")
    assert (row["dataset"], row["view"], row["split"], row["ef"]) == ("north", "A4C", "test", 55.5)
    assert (row["sex"], row["age"]) == ("F", 90)  # the few who are older could be told by it
    assert [item.kind for item in findings.items] == ["unlisted_file", "unlisted_file"]


def test_settings_of_the_scanner_and_care_setting_come_from_the_table(root: Path) -> None:
    """With a decimal comma too; an empty cell is null."""
    more = 'sex = "Sex"\ndepth_cm = "Depth"\ngain_db = "Gain"\ncare_setting = "Ward"\n'
    (root / "echofm.toml").write_text(MAPPING.replace('sex = "Sex"\n', more))
    head = TABLE.strip() + ",Depth,Gain,Ward\n"
    rows = 'c.avi,77,,,,,,"15,5",-6,Intensive care\nSmith John/a.avi,78,,,,,,,,\n'
    (root / "list.csv").write_text(head + rows)
    one, two = GenericReader().read(root)[0].to_dict("records")
    columns = ("depth_cm", "gain_db", "care_setting")
    assert [one[name] for name in columns] == [15.5, -6.0, "Intensive care"]
    assert all(pd.isna(two[name]) for name in columns)


def test_the_same_secret_gives_the_same_ids_and_another_others(root: Path) -> None:
    line = "c.avi,77,4ch,,50,60,M\n"
    first, again = read(root, line)[0], read(root, line)[0]
    pd.testing.assert_frame_equal(first, again)
    (root / "site.secret").unlink()
    write_secret(root / "site.secret")
    other = read(root, line)[0]
    for column in ("patient_id", "study_id", "clip_id"):
        assert first[column].iloc[0] != other[column].iloc[0]


def test_no_finding_names_a_file_or_a_person(root: Path) -> None:
    """The record number has letters that no hexadecimal digest can hold by chance."""
    rows = (
        "Smith John/a.avi,MRN-77,from below,elsewhere,500,60,M\n"
        "smith john/A.avi,MRN-77,from below,,500,60,M\nSmith John/gone.avi,MRN-78,4ch,,50,60,M\n"
        "../outside.avi,MRN-79,4ch,,50,60,M\nSmith John/b.avi,,4ch,,0.5,60,M\n"
        'c.avi,MRN-80,4ch,,50,"60,5",M\nc.avi,MRN-80,4ch,,51,60.5,M\n'
    )
    write_avi(root / "Smith John/unlisted.avi", speckle(3))
    _, findings = read(root, rows)
    table = findings.table()
    assert set(table["kind"]) == {
        "unknown_view", "unknown_split", "label_out_of_range", "duplicate_row", "missing_file",
        "bad_path", "no_patient", "unlisted_file", "path_spelling", "looks_like_fraction",
        "rows_disagree", "table_form",
    }  # fmt: skip
    text = table.to_csv()
    assert not [word for word in ("Smith", "John", ".avi", "MRN-", "from below") if word in text]


def test_a_patient_in_two_parts_goes_to_the_held_out_one(root: Path) -> None:
    rows = "Smith John/a.avi,7,4ch,train,,,\nSmith John/b.avi,7,4ch,holdout,,,\nc.avi,8,,val,,,\n"
    manifest, findings = read(root, rows)
    assert list(manifest["split"]) == ["test", "test", "val"]
    assert [item.kind for item in findings.items] == ["patient_in_two_splits"]


def test_without_a_table_dicom_says_who(root: Path) -> None:
    (root / "dicom").mkdir()
    for number, patient in enumerate(("A", "A", "B")):
        write_jpeg_cine(root / f"dicom/{number}.dcm", speckle(10), PatientID=patient)
    write_jpeg_cine(root / "dicom/none.dcm", speckle(10))
    manifest, findings = read(root, "", 'dataset = "north"\nsecret = "site.secret"\n')
    people = manifest["patient_id"].value_counts().to_dict()
    key = secret(root)
    assert people == {
        pseudonym(key, "north/patient", text): count
        for text, count in (("A", 2), ("B", 1), ("dicom", 1), ("Smith John", 2), (".", 1))
    }
    assert [item.kind for item in findings.items if item.kind == "no_patient"] == ["no_patient"] * 4


def test_a_pattern_finds_the_patient_in_the_path(root: Path) -> None:
    mapping = 'dataset = "north"\nsecret = "site.secret"\npatient = "^(?P<patient>[A-Za-z ]+)/"\n'
    manifest, findings = read(root, "", mapping)
    expected = pseudonym(secret(root), "north/patient", "Smith John")
    assert list(manifest["patient_id"]).count(expected) == 2
    assert [item.kind for item in findings.items] == ["no_patient"]


def test_loose_files_get_ids_for_one_call_only(root: Path) -> None:
    first, again = read_loose(root)[0], read_loose(root)[0]
    assert len(first) == len(again) == 3
    assert not set(first["clip_id"]) & set(again["clip_id"])
    assert len(read_loose(root / "c.avi")[0]) == 1


def open_or_die(relative: str, root: Path, identify: bool) -> _Opened | Refusal:
    """As the reader sees a file, but for one that takes its process down."""
    if relative == "c.avi":
        os.kill(os.getpid(), signal.SIGKILL)
    return _open(relative, root, identify)


def test_a_file_that_kills_its_process_is_quarantined_and_counted(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "MANY", 2)
    monkeypatch.setattr(generic, "_open", open_or_die)
    manifest, findings = read(root, "", 'dataset = "north"\nsecret = "site.secret"\n')
    assert {Path(path).name for path in manifest["path"]} == {"a.avi", "b.avi"}
    (died,) = [item for item in findings.items if item.kind == "decoder_died"]
    assert died.item == "north-" + pseudonym(secret(root), "north/clip", "c.avi")
    severities = [item.severity for item in findings.items]
    assert (severities.count(Severity.QUARANTINED), died.severity) == (1, Severity.QUARANTINED)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('dataset = "north"\n', ""), "'dataset': Field required"),
        (('dataset = "north"', 'dataset = "North Hospital"'), "'dataset'"),
        (('dataset = "north"', 'dataset = "camus"'), "'camus' is a public data set"),
        (('ef = "EF"', 'lvef = "EF"'), "cannot be mapped"),
        (("A4C =", "APICAL ="), "are no views"),
        (("test =", "tests ="), "are no splits"),
        (('patient_id = "MRN"\n', ""), "must map"),
        (('path = "File"', 'path = "Filename"'), "lacks the columns"),
        (('secret = "site.secret"', 'secret = "none"'), "echofm data secret"),
        (("[columns]", 'colour = "red"\n[columns]'), "colour"),
        (("[columns]", "[columns"), "not TOML"),
        (("[columns]", 'patient = "("\n[columns]'), "regular expression"),
        (("[columns]", 'patient = "x"\n[columns]'), "no group"),
        (("[columns]", "patient = '(?P<patient>[[0-9]+)'\n[columns]"), "clear regular expression"),
    ],
)
def test_a_wrong_mapping_is_one_sentence(root: Path, change: tuple[str, str], message: str) -> None:
    with pytest.raises(DataRootError, match=message):
        read(root, "c.avi,1,4ch,,50,60,M\n", MAPPING.replace(*change))


def test_an_unknown_container_header_is_quarantined(root: Path) -> None:
    dataset = header()
    assert "PixelData" not in dataset
    (root / "c.dcm").write_bytes(b"no dicom")
    manifest, findings = read(root, "c.dcm,1,4ch,,50,60,M\n")
    assert manifest.empty
    assert "undecodable" in [item.kind for item in findings.items]


def test_a_table_of_classes_of_stenosis(root: Path) -> None:
    """A grade has its class; a class alone has no grade; where they differ, neither is used."""
    mapping = MAPPING.replace('age = "Age"', 'as_grade = "EF"').replace('ef = "EF"\n', "")
    mapping = mapping.replace('sex = "Sex"', 'as_class = "Sex"')
    rows = "Smith John/a.avi,1,,,3,,\nSmith John/b.avi,2,,,,,1\nc.avi,3,,,3,,0\n"
    manifest, findings = read(root, rows, mapping)
    assert manifest["as_grade"].tolist() == [3, pd.NA, pd.NA]
    assert manifest["as_class"].tolist() == [2, 1, pd.NA]
    (found,) = [item for item in findings.items if item.kind == "grades_differ"]
    assert found.severity is Severity.REPAIRED and found.item == manifest["clip_id"].iloc[2]


def test_rows_that_differ_in_a_class_leave_no_grade_to_take_it_from(root: Path) -> None:
    mapping = MAPPING.replace('age = "Age"', 'as_grade = "EF"').replace('ef = "EF"\n', "")
    mapping = mapping.replace('sex = "Sex"', 'as_class = "Sex"')
    manifest, findings = read(root, "c.avi,1,,,3,,2\nc.avi,1,,,3,,1\n", mapping)
    assert manifest[["as_grade", "as_class"]].isna().all(axis=None)
    (found,) = [item for item in findings.items if item.kind == "rows_disagree"]
    assert "`as_class`" in found.reason and "`as_grade`" in found.reason


MORE = 'sex = "Sex"\nfps = "Hz"\ndepth_cm = "Depth"\nfrequency_mhz = "MHz"\ngain_db = "Gain"\n'


def stated(root: Path, cells: str) -> tuple[dict[str, object], list[str]]:
    """Row and kinds of finding of cells under Age, Sex, Hz, Depth, MHz and Gain."""
    (root / "echofm.toml").write_text(MAPPING.replace('sex = "Sex"\n', MORE))
    head = "File,MRN,View,Part,EF,Age,Sex,Hz,Depth,MHz,Gain\n"
    (root / "list.csv").write_text(f"{head}c.avi,77,,,,{cells}\n", encoding="utf-8")
    manifest, findings = GenericReader().read(root)
    kinds = [item.kind for item in findings.items if item.kind != "unlisted_file"]
    return manifest.to_dict("records")[0], kinds


def test_settings_and_age_come_with_their_unit_or_without(root: Path) -> None:
    row, kinds = stated(root, "61 y,f,40 Hz,16.5 cm,1.7 MHz,-3 dB")
    names = ("age", "fps", "depth_cm", "frequency_mhz", "gain_db")
    assert [row[name] for name in names] == pytest.approx([61, 40, 16.5, 1.7, -3])
    assert kinds == []


@pytest.mark.parametrize(
    ("cells", "column"),
    [
        ("1951,,,,,", "age"),  # a year of birth
        (",,0.025,,,", "fps"),  # seconds
        (",,,165,,", "depth_cm"),  # mm
        (",,,165 mm,,", "depth_cm"),
        (",,,,1700,", "frequency_mhz"),  # kHz
        (",,,,,12 %", "gain_db"),
    ],
)
def test_a_setting_in_another_unit_is_noted_and_not_used(
    root: Path, cells: str, column: str
) -> None:
    row, kinds = stated(root, cells)
    assert row[column] == 50 if column == "fps" else pd.isna(row[column])  # what the video says
    assert kinds == ["value_out_of_range"]


@pytest.mark.parametrize(
    ("word", "sex", "found"),
    [
        ("Female", "F", False), ("m", "M", False), ("mujer", "F", False), ("Mulher", "F", False),
        ("weiblich", "F", False), ("missing", None, True), ("0", None, True), ("O", None, False),
        ("unknown", None, False), ("", None, False),
    ],
)  # fmt: skip
def test_sex_is_a_whole_word(root: Path, word: str, sex: str | None, found: bool) -> None:
    """By its first letter a woman was a man in Spanish, and so was whoever was missing."""
    row, kinds = stated(root, f",{word},,,,")
    assert (row["sex"] if sex else pd.isna(row["sex"])) == (sex or True)
    assert kinds == ["unknown_sex"] * found


def test_a_mapping_may_begin_with_the_mark_of_an_editor(root: Path) -> None:
    (root / "list.csv").write_text(TABLE + "c.avi,77,,,,,\n")
    (root / "echofm.toml").write_text(MAPPING, encoding="utf-8-sig")
    assert len(GenericReader().read(root)[0]) == 1
