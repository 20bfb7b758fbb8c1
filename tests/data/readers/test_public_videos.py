"""EchoNet-Pediatric, EchoNet-LVH, HMC-QU and CardiacUDA: what is peculiar to each."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import pandas as pd
import pytest

from echofm_core.data.findings import Findings
from echofm_core.data.readers.cardiac_uda import CardiacUdaReader
from echofm_core.data.readers.echonet_lvh import EchoNetLvhReader
from echofm_core.data.readers.echonet_pediatric import EchoNetPediatricReader
from echofm_core.data.readers.hmc_qu import HmcQuReader
from tests.data.files import speckle, write_avi, write_nifti


def kinds(findings: Findings) -> list[tuple[str, str]]:
    return [(item.kind, item.item) for item in findings.items]


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_avi(root / name, speckle(4, 32, 32))


def pediatric(root: Path, rows: str) -> tuple[pd.DataFrame, Findings]:
    (root / "A4C/FileList.csv").write_text(
        "FileName,EF,Sex,Age,Weight,Height,Split\n" + rows, encoding="utf-8"
    )
    (root / "A4C/VolumeTracings.csv").write_text("FileName,X,Y,Frame\nCR1-2-3.avi,1,2,7\n")
    return EchoNetPediatricReader().read(root)


def test_pediatric_first_token_is_the_patient_and_folds_are_splits(tmp_path: Path) -> None:
    make(tmp_path, *(f"A4C/Videos/CR{n}-2-3.avi" for n in (1, 2, 3)))
    rows = "CR1-2-3.avi,61.5,F,3,20,100,0\nCR2-2-3.avi,60,M,17,20,100,1\nCR3-2-3,55,x,,,,9\n"
    manifest, findings = pediatric(tmp_path, rows)
    assert list(manifest["patient_id"]) == ["CR1", "CR2", "CR3"]
    assert list(manifest["split"]) == ["test", "val", "train"]
    assert list(manifest["sex"].astype(object).where(manifest["sex"].notna(), None)) == [
        "F", "M", None,
    ]  # fmt: skip
    assert manifest["ef"].tolist() == pytest.approx([61.5, 60, 55])
    assert manifest[["edv", "esv"]].isna().all(axis=None)
    assert kinds(findings) == [("missing_view", "PSAX")]


def test_pediatric_a_child_in_two_folds_is_held_out(tmp_path: Path) -> None:
    make(tmp_path, "A4C/Videos/CR1-2-3.avi", "A4C/Videos/CR1-2-4.avi")
    manifest, findings = pediatric(tmp_path, "CR1-2-3.avi,60,,,,,4\nCR1-2-4.avi,60,,,,,0\n")
    assert list(manifest["split"]) == ["test", "test"]
    assert ("patient_in_two_splits", "CR1") in kinds(findings)


def test_lvh_several_rows_are_one_video(tmp_path: Path) -> None:
    make(tmp_path, "Batch1/0XA.avi", "Batch2/deeper/0XB.avi", "Batch3/0XA.avi", "Batch4/0XC.avi")
    (tmp_path / "MeasurementsList.csv").write_text(
        ",HashedFileName,Calc,CalcValue,Frames,FPS,Width,Height,split\n"
        "0,0XA,IVSd,1.1,4,50,32,32,train\n1,0XA,LVPWd,1.0,4,50,32,32,train\n"
        "2,0XB,IVSd,1.1,4,50,32,32,test\n3,0XD,IVSd,1,4,50,32,32,val\n"
    )
    manifest, findings = EchoNetLvhReader().read(tmp_path)
    assert list(manifest["clip_id"]) == ["0XA", "0XB"]
    assert list(manifest["split"]) == ["train", "test"]
    assert set(manifest["view"]) == {"PLAX"}
    assert manifest["path"].iloc[0].endswith("Batch1/0XA.avi")
    assert kinds(findings) == [
        ("duplicate_file", "Batch3/0XA.avi"),
        ("missing_file", "0XD.avi"),
        ("unlisted_file", "Batch4/0XC.avi"),
    ]


def hmc(root: Path, names: list[str], infarcted: list[bool]) -> tuple[pd.DataFrame, Findings]:
    make(root, *(f"A4C/{name}.avi" for name in names))
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["ECHO", "SEG1", "SEG2", "One cardiac-cycle frames"])
    for name, infarction in zip(names, infarcted, strict=True):
        sheet.append([name.replace(" ", ""), "MI" if infarction else "non-MI", "non-MI", 1])
    book.save(root / "A4C.xlsx")
    return HmcQuReader().read(root)


def test_hmc_names_that_tell_the_label_stay_out_of_ids(tmp_path: Path) -> None:
    """The published spellings; N stands for normal in three of these four: 75 % is not above."""
    names = ["ES0001 _4CH_1", "ES00084 N_4CH_3", "ES000101_CH4_1", "ES000102 n_CH4_1"]
    manifest, findings = hmc(tmp_path, names, [True, False, True, True])
    assert sorted(manifest["clip_id"]) == [
        "ES000001_A4C_1", "ES000084_A4C_3", "ES000101_A4C_1", "ES000102_A4C_1",
    ]  # fmt: skip
    assert not [kind for kind, _ in kinds(findings) if kind == "label_in_name"]


def test_hmc_the_leak_is_measured(tmp_path: Path) -> None:
    names = ["ES0001 _4CH_1", "ES00084 N_4CH_3", "ES000101_CH4_1", "ES000102 n_CH4_1"]
    _, findings = hmc(tmp_path, names, [True, False, True, False])
    (leak,) = [item for item in findings.items if item.kind == "label_in_name"]
    assert "in 100% of 4 videos" in leak.reason


def test_uda_names_two_hospitals_and_numbers_anew_in_each_folder(tmp_path: Path) -> None:
    for folder in ("Site_G_20", "Site_G_29", "Site_R_52", "label_all_frame"):
        (tmp_path / folder).mkdir()
        write_nifti(tmp_path / folder / "patient-1-4_image.nii.gz", speckle(9, 24, 32))
        write_nifti(tmp_path / folder / "patient-1-4_label.nii.gz", speckle(9, 24, 32))
    write_nifti(tmp_path / "Site_R_52/patient-2-3_image.nii.gz", speckle(9, 24, 32))
    manifest, findings = CardiacUdaReader().read(tmp_path)
    assert list(manifest["site"]) == ["cardiac_uda_g"] * 2 + ["cardiac_uda_r"] * 2
    assert manifest["patient_id"].nunique() == 4
    assert list(manifest["view"]) == ["A4C", "A4C", "A4C", "OTHER"]
    assert manifest[["n_frames", "height", "width"]].iloc[0].tolist() == [9, 24, 32]
    assert kinds(findings) == [("no_site", "label_all_frame/patient-1-4_image.nii.gz")]
