from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydicom.examples import get_path

from echofm_core.data.readers.mimic_iv_echo import MimicIvEchoReader
from tests.data.files import (
    STILL_CLASS,
    header,
    region,
    save_dicom,
    speckle,
    with_pixels,
    write_jpeg_cine,
)

FOLDER = "files/p10/p10002221/s94106955"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / FOLDER).mkdir(parents=True)
    return tmp_path


def place(root: Path, number: int) -> Path:
    return root / FOLDER / f"94106955_{number:04}.dcm"


def listing(root: Path, *paths: str) -> None:
    """The record list, in another order of columns than documented."""
    lines = [f"{path},94106955,10002221,2178-05-01" for path in paths]
    text = "dicom_filepath,study_id,subject_id,acquisition_datetime\n" + "\n".join(lines)
    (root / "echo-record-list.csv").write_text(text)


def found(root: Path) -> tuple[pd.DataFrame, dict[tuple[str, str], int]]:
    manifest, findings = MimicIvEchoReader().read(root)
    counts = findings.table().groupby(["kind", "severity"]).size()
    return manifest, {key: int(count) for key, count in counts.items()}


def test_a_cine_and_the_real_one(root: Path) -> None:
    write_jpeg_cine(
        place(root, 1),
        speckle(12),
        FrameTime="20",
        Manufacturer="GE Vingmed Ultrasound",
        ManufacturerModelName="Vivid E95",
        SequenceOfUltrasoundRegions=[region()],
    )
    place(root, 2).write_bytes(Path(get_path("ybr_color")).read_bytes())
    listing(root, f"{FOLDER}/94106955_0001.dcm", f"/{FOLDER}/94106955_0002.dcm")
    manifest, wrong = found(root)
    assert wrong == {("no_region", "repaired"): 1}  # the real one's region is not believable
    ours, real = manifest.iloc[0], manifest.iloc[1]
    assert ours["path"] == str(place(root, 1))
    assert (ours["patient_id"], ours["study_id"]) == ("10002221", "94106955")
    assert ours["clip_id"] == "94106955_0001"
    assert (ours["vendor"], ours["model"]) == ("GE Vingmed Ultrasound", "Vivid E95")
    assert (ours["n_frames"], ours["height"], ours["width"], ours["fps"]) == (12, 64, 64, 50)
    assert (real["n_frames"], real["vendor"]) == (30, "SonoSite, Inc.")
    assert manifest[["ef", "as_grade", "view", "split"]].isna().all(axis=None)


def test_everything_that_is_known_to_go_wrong(root: Path) -> None:
    still = header(SOPClassUID=STILL_CLASS)
    save_dicom(place(root, 1), with_pixels(still, "MONOCHROME2", speckle(1)))
    spectral = header(regions=[region(3, 3)], NumberOfFrames=1)
    save_dicom(place(root, 2), with_pixels(spectral, "MONOCHROME2", speckle(1)))
    flow = np.repeat(speckle(12)[..., None], 3, axis=-1)
    flow[:, 30:38, 28:36] = (210, 40, 20)
    coloured = with_pixels(header(UltrasoundColorDataPresent=1), "RGB", flow)
    save_dicom(place(root, 3), coloured)
    write_jpeg_cine(place(root, 4), speckle(12))  # neither region nor timing
    place(root, 5).write_bytes(b"junk" * 100)
    place(root, 6).write_bytes(b"")
    write_jpeg_cine(place(root, 7), speckle(12), FrameTime="20")  # not listed
    m_mode = header(regions=[region(2, 1)])
    save_dicom(place(root, 8), with_pixels(m_mode, "MONOCHROME2", speckle(3)))
    listed = [f"{FOLDER}/94106955_{number:04}.dcm" for number in (1, 2, 3, 4, 5, 6, 8, 9, 4)]
    listing(root, *listed, "../../etc/passwd", "files/p10/../../../x.dcm", "")
    manifest, wrong = found(root)
    assert manifest["clip_id"].tolist() == ["94106955_0004", "94106955_0007"]
    assert wrong == {
        ("still", "quarantined"): 1,
        ("spectral", "quarantined"): 1,
        ("m_mode", "quarantined"): 1,
        ("colour_doppler", "quarantined"): 1,
        ("undecodable", "quarantined"): 1,
        ("empty_file", "quarantined"): 1,
        ("missing_file", "quarantined"): 1,
        ("duplicate_row", "quarantined"): 1,
        ("bad_path", "quarantined"): 3,
        ("no_region", "repaired"): 2,
        ("no_timing", "repaired"): 1,
        ("unlisted_file", "repaired"): 1,
    }


@pytest.mark.parametrize(("row", "kind"), [(b"1\n", "bad_path"), (b"%s\n", "duplicate_row")])
def test_a_small_list_of_millions_of_bad_rows_is_left(root: Path, row: bytes, kind: str) -> None:
    """Ten thousand are listed, the rest is one finding; the files are known by their folders."""
    write_jpeg_cine(place(root, 1), speckle(12), FrameTime="20")
    first = f"{FOLDER}/94106955_0001.dcm".encode()
    rows = row.replace(b"%s", first) * 50_000
    packed = gzip.compress(b"dicom_filepath\n" + first + b"\n" + rows, 1)
    (root / "echo-record-list.csv").write_bytes(packed)
    manifest, wrong = found(root)
    assert manifest["clip_id"].tolist() == ["94106955_0001"]
    assert wrong[kind, "quarantined"] == 10_000
    assert wrong["bad_table", "repaired"] == 1


def test_a_damaged_record_list_does_not_hide_the_files(root: Path) -> None:
    write_jpeg_cine(place(root, 1), speckle(12), FrameTime="20")
    (root / "echo-record-list.csv").write_bytes(np.arange(256, dtype=np.uint8).tobytes())
    manifest, wrong = found(root)
    assert len(manifest) == 1
    assert ("bad_table", "repaired") in wrong
