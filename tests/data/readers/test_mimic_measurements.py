"""EF and volumes of a study from a table of measurements: which exam, which rows, which method.

Expected values are read off the tables by hand.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from echofm_core.data.config import MimicConfig
from echofm_core.data.manifest import validate
from echofm_core.data.readers._mimic_measurements import TABLES, is_alike, key_of, study_labels
from echofm_core.data.readers._source import Source
from echofm_core.data.readers.mimic_iv_echo import MimicIvEchoReader
from tests.data.files import speckle, write_jpeg_cine

COLUMNS = ("subject_id", "measurement_id", "measurement_datetime", "test_type", "measurement",
           "measurement_description", "result", "unit")  # fmt: skip
#: Study -> patient, of the studies that have a cine.
PATIENTS = {"s1": "1", "s2": "2"}
LIST = "subject_id,study_id,study_datetime,measurement_id\n1,s1,2150-01-01,71\n2,s2,2150-01-01,72\n"

#: Name, result, unit of exam 71; or exam, name, result, unit; or those and patient, type, time.
Row = tuple[str, ...]


def write(root: Path, rows: Sequence[Row], *, name: str = TABLES[0], studies: str = LIST) -> None:
    lines = [",".join(COLUMNS)]
    for row in rows:
        exam, measurement, result, unit = row[:4] if len(row) > 3 else ("71", *row)
        patient, kind, time = row[4:] or (exam[-1], "tte", "2150-01-01 10:00:00")
        fields = (patient, exam, time, kind, measurement, "", f'"{result}"', unit)
        lines.append(",".join(fields))
    text = "\n".join(lines)
    data = gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
    (root / name).write_bytes(data)
    (root / "echo-study-list.csv").write_text(studies)


def found(root: Path) -> tuple[dict[str, dict[str, float]], dict[str, int]]:
    """Labels by study; by kind, the count at the end of its one finding's reason."""
    source = Source("mimic_iv_echo", root)
    labels = study_labels(source, PATIENTS)
    table = source.findings.table()
    assert table["kind"].is_unique
    counts = table["reason"].str.extract(r": (\d+)(?: \(.*\))?\.$")[0].fillna("1").astype(int)
    return labels, dict(zip(table["kind"], counts, strict=True))


@pytest.mark.parametrize("name", TABLES)
def test_both_systems_under_every_name_of_the_table(root: Path, name: str) -> None:
    write(
        root,
        [
            ("71", "height_cm", "170", "cm"),
            ("71", "lvef", "50", "%"),
            ("71", "lvef_upper", "55", "%"),
            ("72", "gender", "F", ""),
            ("72", "lvef_3d", "58", "%"),
            ("72", "biplane_lvef", "61.5", "%"),
            ("72", "biplane_lvedv", "100", "mL"),
            ("72", "lvesv_biplane", "39", "ml"),
            ("72", "lvedv_3d", "130", "ml"),
        ],
        name=name,
    )
    labels, wrong = found(root)
    assert labels == {"s1": {"ef": 52.5}, "s2": {"ef": 61.5, "edv": 100, "esv": 39}}
    assert not wrong


def test_no_table_no_labels(root: Path) -> None:
    (root / "echo-study-list.csv").write_text(LIST)
    assert found(root) == ({}, {})


@pytest.mark.parametrize(
    ("rows", "expected", "wrong"),
    [
        ([("lvef", "55 %", "")], {"ef": 55}, ""),
        ([("lvef", "50 to 60", "%")], {"ef": 55}, ""),
        ([("LVEF ", "55", "%"), ("lvef", "55.0", "%")], {"ef": 55}, ""),
        ([("lvef", "", "%")], {}, ""),
        ([("lvef", "55", "%"), ("lvef_upper", "", "%")], {"ef": 55}, ""),
        ([("lvef", ">55", "%")], {}, "open_result"),
        ([("lvef_upper", "100", "%")], {}, "open_result"),
        ([("lvef", "NORMAL", "%")], {}, "result_in_words"),
        ([("lvef", "55", "")], {}, "unknown_unit"),
        ([("lvef", "55 %", "ml")], {}, "unknown_unit"),
        ([("biplane_lvedv", "55", "ml/m2")], {}, "unknown_unit"),
        ([("lvef", "155", "%")], {}, "label_out_of_range"),
        ([("lvef", "70", "%"), ("lvef_upper", "100", "%")], {}, "wide_range"),
        ([("lvef", "20", "%"), ("lvef_upper", "60", "%")], {}, "wide_range"),
        ([("lvef", "60", "%"), ("lvef_upper", "55", "%")], {}, "wide_range"),
        ([("lvef", "55", "%"), ("lvef", "60", "%")], {}, "results_differ"),
        ([("lvef_3d", "55", "%"), ("3d_lvef", "60", "%")], {}, "results_differ"),
        ([("biplane_lvedv", "40", "ml"), ("biplane_lvesv", "60", "ml"), ("lvef", "55", "%")],
         {}, "esv_exceeds_edv"),
        ([("lvef", "55", "%"), ("lvedv_index", "60", "ml/m2")], {"ef": 55}, "unknown_measurement"),
        # A method that cannot be used leaves the place to the next one.
        ([("biplane_lvef", ">55", "%"), ("lvef", "60", "%")], {"ef": 60}, "open_result"),
        ([("lvef_3d", "61", "%"), ("lvef", "60", "%")], {"ef": 61}, ""),
        # Volumes are of one method.
        ([("biplane_lvesv", "40", "ml"), ("lvedv_3d", "130", "ml"), ("lvesv_3d", "50", "ml")],
         {"esv": 40}, ""),
        ([("lvedv_3d", "130", "cc"), ("lvesv_3d", "50", "cc")], {"edv": 130, "esv": 50}, ""),
    ],
)  # fmt: skip
def test_one_exam(root: Path, rows: list[Row], expected: dict[str, float], wrong: str) -> None:
    write(root, rows)
    labels, counts = found(root)
    assert labels.get("s1", {}) == expected
    assert counts == ({wrong: 1} if wrong else {})


def test_rows_that_are_not_the_studys(root: Path) -> None:
    """Another kind of exam, an exam of no study, the exam's number with another patient."""
    write(
        root,
        [
            ("71", "lvef", "40", "%", "1", "tee", ""),
            ("71", "lvef", "70", "%", "1", "stress", ""),
            ("71", "lvef", "55", "%", "1", "TTE", ""),
            ("99", "lvef", "20", "%", "1", "tte", ""),
            ("72", "lvef", "30", "%", "3", "tte", ""),
            ("99", "lvedv_index", "20", "ml/m2", "1", "tte", ""),
        ],
    )
    labels, wrong = found(root)
    assert labels == {"s1": {"ef": 55}}
    assert wrong == {"other_exam_type": 2, "exam_without_cines": 2}


def test_thousands_of_one_kind_are_one_finding(root: Path) -> None:
    write(root, [("99", "lvef", "55", "%")] * 3000)
    assert found(root) == ({}, {"exam_without_cines": 3000})


V01 = "study_datetime,study_id,subject_id,note_id\n2150-01-05 12:00:00,s1,1,\n2150-01-05,s2,2,\n"


def test_without_exam_numbers_the_nearest_within_two_days_counts(root: Path) -> None:
    """s1: 47 h before beats 48 h 1 min after; a nearer transoesophageal exam is no candidate.
    s2: its patient's only exam is two days and a minute off."""
    write(
        root,
        [
            ("81", "lvef", "50", "%", "1", "tte", "2150-01-03 13:00:00"),
            ("82", "lvef", "60", "%", "1", "tte", "2150-01-07 12:01:00"),
            ("83", "lvef", "40", "%", "1", "tee", "2150-01-05 12:00:00"),
            ("84", "lvef", "30", "%", "2", "tte", "2150-01-07 00:01:00"),
            ("85", "lvef", "30", "%", "2", "tte", "unknown"),
            ("86", "lvef", "30", "%", "7", "tte", "2150-01-05 12:00:00"),
        ],
        studies=V01,
    )
    labels, wrong = found(root)
    assert labels == {"s1": {"ef": 50}}
    assert wrong == {"joined_by_date": 1, "exam_without_cines": 5}


def test_the_nearest_exam_counts_though_another_has_an_ef(root: Path) -> None:
    write(
        root,
        [
            ("81", "height_cm", "170", "cm", "1", "tte", "2150-01-05 13:00:00"),
            ("82", "lvef", "60", "%", "1", "tte", "2150-01-06 12:00:00"),
        ],
        studies=V01,
    )
    assert found(root) == ({}, {"joined_by_date": 1, "exam_without_cines": 1})


def test_numbers_that_became_floats_and_a_study_with_two_exams(root: Path) -> None:
    write(
        root,
        [("71", "lvef", "55", "%"), ("73", "lvef", "25", "%", "1", "tte", "")],
        studies="measurement_id,study_id,subject_id\n71.0,s1,1\n71.0,s1,1\n73.0,s1,1\n,s2,2\n",
    )
    labels, wrong = found(root)
    assert labels == {"s1": {"ef": 55}}
    assert wrong == {"study_listed_twice": 1, "exam_without_cines": 1}


@pytest.mark.parametrize("how", ["no list", "no times", "cut", "no column", "noise", "empty"])
def test_damage_is_one_finding(root: Path, how: str) -> None:
    """What was read before the damage counts: the rows are whole."""
    rows = [("71", "lvef", "55", "%")] * 2000
    write(root, rows)
    table, studies = root / TABLES[0], root / "echo-study-list.csv"
    match how:
        case "no list":
            studies.unlink()
        case "no times":
            studies.write_text("study_id,subject_id\ns1,1\n")
        case "cut":
            table.write_bytes(table.read_bytes()[:-20])
        case "no column":
            table.write_text("subject_id,measurement_id\n1,71\n")
        case "noise":
            table.write_bytes(bytes(range(256)) * 10)
        case "empty":
            table.write_bytes(b"")
    labels, wrong = found(root)
    assert labels in ({}, {"s1": {"ef": 55}})
    assert wrong == {"bad_table": 1}


def test_every_cine_of_a_study_has_its_labels(root: Path) -> None:
    """Whatever it shows: its view stays unknown. The plan may leave them out."""
    lines = ["dicom_filepath"]
    for study, number in (("s1", 1), ("s1", 2), ("s2", 1)):
        place = f"files/p10/p{study[1]}/{study}"
        (root / place).mkdir(parents=True, exist_ok=True)
        file = f"{place}/{study[1]}_{number:04}.dcm"
        write_jpeg_cine(root / file, speckle(3), FrameTime="20")
        lines.append(file)
    (root / "echo-record-list.csv").write_text("\n".join(lines))
    studies = LIST.replace("s1", "1").replace("s2", "2")
    write(root, [("biplane_lvef", "55", "%"), ("lvedv_biplane", "90", "ml")], studies=studies)
    manifest, _ = MimicIvEchoReader().read(root)
    assert manifest["ef"].fillna(-1).tolist() == [55, 55, -1]
    assert manifest["edv"].fillna(-1).tolist() == [90, 90, -1]
    assert manifest[["esv", "view", "as_grade"]].isna().all(axis=None)
    pd.testing.assert_frame_equal(validate(manifest), manifest)
    bare, findings = MimicIvEchoReader(MimicConfig(measurements=False)).read(root)
    assert bare[["ef", "edv"]].isna().all(axis=None)
    assert "structured" not in findings.table()["item"].str.cat()


def test_names() -> None:
    assert key_of(" Biplane LVEF") == key_of("lvef-biplane") == key_of("biplane_lvef")
    for name in (
        "rest_lvef",
        "LVEDV",
        "lvesv_index",
        "ejection_fraction",
        "EF",
        "diastolic_volume",
    ):
        assert key_of(name) is None and is_alike(name)
    for name in (
        "lvedd",
        "av_pk_vel",
        "aortic_stenosis",
        "la_vol",
        "fs",
        "ref_number",
        "rv_function",
    ):
        assert key_of(name) is None and not is_alike(name)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path
