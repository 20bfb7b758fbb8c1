"""Institutions on disk: repeatable, honest about what was spoilt, and read as their truth says."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from echofm_core.data.decode import decode_clip
from echofm_core.data.doctor.examine import examine
from echofm_core.data.readers.registry import read_roots
from echofm_core.phantom.institutions import Layout, write_institutions
from echofm_core.phantom.scanners import ECHONET
from echofm_core.runtime.errors import DataRootError, UnreadableFileError

ROOTS = ("EchoNet-Dynamic", "CAMUS_public", "approved_users_only", "mimic-iv-echo/1.0")
REAL = "files/p19/p19999999/s99999999/99999999_0001.dcm"
PATIENTS = {Layout.ECHONET_DYNAMIC: 4, Layout.CAMUS: 4, Layout.MIMIC_IV_ECHO: 2, Layout.TMED2: 5}


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("phantom") / "data"
    write_institutions(path, PATIENTS, seed=3)
    return path


def test_the_same_seed_writes_the_same_files(folder: Path, tmp_path: Path) -> None:
    write_institutions(tmp_path / "again", PATIENTS, seed=3)
    assert content(tmp_path / "again") == content(folder)


def test_it_never_writes_into_somebody_elses_folder(folder: Path) -> None:
    with pytest.raises(DataRootError, match="not empty"):
        write_institutions(folder, PATIENTS, seed=3)


@pytest.mark.parametrize("root", ["EchoNet-Dynamic", "CAMUS_public", "approved_users_only"])
def test_labels_that_are_read_are_the_truth(folder: Path, root: str) -> None:
    """CAMUS rounds EF to whole percent: half a percent off at most."""
    manifest, _ = read_roots([folder / root])
    key = "study" if root == "approved_users_only" else "clip"
    truth = pd.read_csv(folder / f"{root}.truth.csv").drop_duplicates(key).set_index(key)
    rows = manifest[manifest["clip_id"].isin(truth.index)].set_index("clip_id")
    assert len(rows) >= 4
    drawn = truth.loc[rows.index]
    if root == "approved_users_only":
        assert (rows["as_grade"] == drawn["as_grade"]).all()
    else:
        assert (rows["ef"] - drawn["ef"]).abs().max() <= (0.5 if root == "CAMUS_public" else 1e-4)


def test_nothing_is_wrong_where_nothing_was_planted(tmp_path: Path) -> None:
    """But for the real cine: its region was declared for a larger picture, the file's own error.

    What is planted is compared with what is found in tests/data/readers/test_contract.py.
    """
    write_institutions(tmp_path / "data", dict.fromkeys(Layout, 3), seed=3, errors=False)
    diagnosis = examine([tmp_path / "data"], tmp_path / "scratch")
    found = diagnosis.findings
    assert list(zip(found["kind"], found["item"], strict=True)) == [("no_region", REAL)]
    for planted in (tmp_path / "data").rglob("*.planted.csv"):
        rows = pd.read_csv(planted)
        assert list(rows["item"]) == ([REAL] if "mimic-iv-echo/1.0" in str(planted) else [])


def test_every_clip_that_is_read_can_be_decoded_but_the_damaged(folder: Path) -> None:
    manifest, _ = read_roots([folder])
    failed = []
    for row in manifest.itertuples():
        try:
            decoded = decode_clip(str(row.path), str(row.dataset))
        except UnreadableFileError:
            failed.append(row.clip_id)
        else:
            assert decoded.sector.any() and decoded.frames.any()
    assert sorted(failed) == ["0X000000000000000C", "patient0001_2CH"]


def test_tracings_enclose_the_volume_of_the_label(folder: Path) -> None:
    """Area-length from the 20 discs of the larger frame: V = 8 A^2 / (3 pi L), A = pi a L / 2.

    The discs stand at L/21, 2L/21, ... so A is their mean width times L, but for the two
    half-steps at the ends; 6 % covers that and end-diastole lying between two frames.
    """
    files = pd.read_csv(folder / "EchoNet-Dynamic/FileList.csv").set_index("FileName")
    tracings = pd.read_csv(folder / "EchoNet-Dynamic/VolumeTracings.csv")
    assert list(tracings.columns) == ["FileName", "X1", "Y1", "X2", "Y2", "Frame"]
    # Not those with a second observer or a point outside: both were planted.
    rows = tracings.groupby("FileName")["X1"].agg(["size", "min"])
    good = rows.index[(rows["size"] == 42) & (rows["min"] >= 0)]
    inside = tracings[tracings["FileName"].isin(good)]
    assert inside["FileName"].nunique() >= 2
    scale = ECHONET.pixels_per_cm[0]
    for name, rows in inside.groupby("FileName"):
        volumes = []
        for _, frame in rows.groupby("Frame"):
            width = np.hypot(frame["X2"] - frame["X1"], frame["Y2"] - frame["Y1"]) / scale
            length, discs = width.iloc[0], width.iloc[1:]
            area = discs.mean() * length
            volumes.append(8 * area**2 / (3 * np.pi * length))
        assert max(volumes) == pytest.approx(files.loc[name[:-4], "EDV"], rel=0.06)


def test_the_real_cine_is_one_clip_among_the_phantoms(folder: Path) -> None:
    manifest, _ = read_roots([folder / "mimic-iv-echo" / "1.0"])
    real = manifest[manifest["vendor"].str.contains("SonoSite")]
    assert len(real) == 1
    assert int(real["n_frames"].iloc[0]) == 30 and real["fps"].iloc[0] == pytest.approx(30, abs=0.1)
