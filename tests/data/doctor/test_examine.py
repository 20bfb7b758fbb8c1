"""The doctor as a whole: single files, loose folders, caps, layouts that cannot be read."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file
from pydicom.examples import get_path

from echofm_core.data.doctor.examine import Diagnosis, examine
from echofm_core.phantom.institutions import Layout, write_institutions
from echofm_core.runtime.errors import DataRootError
from tests.data.files import speckle, write_avi

ROWS = "FileName,EF,ESV,EDV,Split\n" + "".join(f"0X{n},60,40,100,TRAIN\n" for n in range(6))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six videos in EchoNet-Dynamic's layout."""
    (tmp_path / "root/Videos").mkdir(parents=True)
    for number in range(6):
        write_avi(tmp_path / f"root/Videos/0X{number}.avi", speckle(10, seed=number))
    (tmp_path / "root/FileList.csv").write_text(ROWS)
    return tmp_path / "root"


def look(tmp_path: Path, *places: Path, decode: int = 0) -> Diagnosis:
    diagnosis = examine(places, tmp_path / "scratch", decode=decode)
    assert not (tmp_path / "scratch").exists()
    return diagnosis


def kinds(diagnosis: Diagnosis) -> list[str]:
    return list(diagnosis.findings["kind"])


@pytest.mark.parametrize(
    ("name", "kind", "frames"),
    [("ybr_color", "", 30), ("color3d_jpeg_baseline.dcm", "", 120),
     ("JPGLosslessP14SV1_1s_1f_8b.dcm", "still", 0)],
)  # fmt: skip
def test_real_dicom_files_by_themselves(tmp_path: Path, name: str, kind: str, frames: int) -> None:
    """Two real apical cines at 30 frames a second, by their headers, and one real still."""
    source = get_testdata_file(name) if name.endswith(".dcm") else get_path(name)
    if source is None:
        pytest.skip(f"{name} is in the package pydicom-data, which is not installed")
    diagnosis = look(tmp_path, Path(str(source)))
    assert [found for found in kinds(diagnosis) if found not in ("no_region", "no_patient")] == (
        [kind] if kind else []
    )
    if not kind:
        (clip,) = diagnosis.decoded.itertuples()
        assert (clip.frames, clip.fps) == (frames, pytest.approx(30, abs=0.01))
        assert 0.2 < clip.sector < 0.85
        assert not diagnosis.public
        assert not diagnosis.synthetic


def test_a_layout_that_cannot_be_read_is_a_finding_and_the_next_is_read(
    root: Path, tmp_path: Path
) -> None:
    shutil.copytree(root, tmp_path / "broken")
    (tmp_path / "broken/FileList.csv").write_text("nothing")
    diagnosis = look(tmp_path, tmp_path / "broken", root)
    assert "unusable_root" in kinds(diagnosis)
    assert len(diagnosis.manifest) == 6


def test_a_cap_draws_the_same_clips_again(root: Path, tmp_path: Path) -> None:
    first, second = look(tmp_path, root, decode=3), look(tmp_path, root, decode=3)
    assert len(first.manifest) == 6
    assert len(first.decoded) == 3
    assert list(first.decoded.index) == list(second.decoded.index)
    assert set(first.thumbnails) == set(first.decoded.index)


def test_names_that_are_no_text_end_nothing(root: Path, tmp_path: Path) -> None:
    """Bytes that are no UTF-8, and a line break: quarantined by an escaped name."""
    for name in (b"\xff\xfe.avi", b"two\nlines.avi"):
        Path(os.fsdecode(os.fsencode(root / "Videos") + b"/" + name)).write_bytes(b"x")
    own = tmp_path / "own"
    shutil.copytree(root / "Videos", own)
    for place in (root, own):
        diagnosis = look(tmp_path, place)
        kinds = set(diagnosis.findings["kind"])
        assert kinds >= ({"unlisted_file"} if place is root else {"bad_name"})
        assert len(diagnosis.manifest) == 6
        json.dumps(list(diagnosis.findings["item"])).encode()


def test_what_the_decoder_refused_is_not_counted_as_usable(root: Path, tmp_path: Path) -> None:
    (root / "Videos/0X3.avi").write_bytes(b"junk")
    diagnosis = look(tmp_path, root)
    assert len(diagnosis.manifest) == len(diagnosis.decoded) == 5
    assert ("undecodable", "Videos/0X3.avi") in list(
        zip(diagnosis.findings["kind"], diagnosis.findings["item"], strict=True)
    )


def test_phantoms_are_said_to_be(tmp_path: Path) -> None:
    write_institutions(tmp_path / "data", {Layout.HMC_QU: 1}, seed=1, errors=False)
    assert look(tmp_path, tmp_path / "data").synthetic
    assert look(tmp_path, next((tmp_path / "data").rglob("*.avi"))).synthetic


def test_a_place_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    for place in (tmp_path / "none", tmp_path / "none.dcm"):
        with pytest.raises(DataRootError, match="does not exist"):
            look(tmp_path, place)


def test_a_folder_with_nothing_is_a_finding(root: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    diagnosis = look(tmp_path, tmp_path / "empty", root)
    assert "nothing_known" in kinds(diagnosis)
    assert len(diagnosis.manifest) == 6
