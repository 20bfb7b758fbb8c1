"""A hospital's files in a published layout: what the publisher did not name is hashed."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from echofm_core.data.doctor.examine import examine
from echofm_core.data.findings import places_csv
from echofm_core.data.patients import pseudonym, write_secret
from echofm_core.data.readers.private_names import SECRET, is_published
from echofm_core.data.readers.registry import read_roots
from echofm_core.runtime.errors import DataRootError
from tests.data.files import speckle, write_avi

NAME = "ZEBRAFISH_QUINCY_19470131"
TOLD = ("ZEBRAFISH", "QUINCY", "19470131")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """EchoNet-Dynamic's layout, filled by a hospital: one name of the publisher's form."""
    place = tmp_path / "export"
    (place / "Videos").mkdir(parents=True)
    for number, name in enumerate((NAME, f"{NAME}_again", "0X1A544C3D9185E642")):
        write_avi(place / f"Videos/{name}.avi", speckle(10, seed=number))
    write_avi(place / f"Videos/{NAME}_stray.avi", speckle(10))
    rows = "".join(
        f"{name},55,45,100,TRAIN\n" for name in (NAME, f"{NAME}_again", "0X1A544C3D9185E642",
                                                 f"{NAME}_gone")
    )  # fmt: skip
    (place / "FileList.csv").write_text(f"FileName,EF,ESV,EDV,Split\n{rows}")
    return place


def test_without_a_secret_nothing_is_indexed(root: Path) -> None:
    with pytest.raises(DataRootError, match=r"2 clips under .*echofm data secret") as caught:
        read_roots([root])
    assert not [word for word in TOLD if word in str(caught.value)]


def test_ids_and_findings_are_hashed_with_the_institutions_secret(root: Path) -> None:
    write_secret(root / SECRET)
    key = bytes.fromhex((root / SECRET).read_text())
    manifest, findings = read_roots([root])
    hashed = pseudonym(key, "echonet_dynamic/patient", NAME)
    assert manifest["patient_id"].iloc[0] == hashed
    assert manifest["clip_id"].tolist()[2] == "0X1A544C3D9185E642"
    text = manifest.drop(columns="path").to_csv() + findings.table().to_csv()
    assert {"missing_file", "unlisted_file"} <= set(findings.table()["kind"])
    assert not [word for word in TOLD if word in text]
    again, _ = read_roots([root])
    pd.testing.assert_frame_equal(again, manifest)


def test_a_first_look_takes_a_secret_for_one_call(root: Path, tmp_path: Path) -> None:
    (root / f"Videos/{NAME}_again.avi").write_bytes((root / f"Videos/{NAME}.avi").read_bytes())
    looks = [examine([root], tmp_path / "scratch") for _ in range(2)]
    for look in looks:
        assert len(look.manifest) == 3
        text = look.manifest.drop(columns="path").to_csv() + look.findings.to_csv()
        assert "duplicate_content" in text
        assert not [word for word in TOLD if word in text]
    first, second = (set(look.manifest["patient_id"]) for look in looks)
    assert first & second == {"0X1A544C3D9185E642"}


def test_the_owner_can_trace_every_hashed_finding(root: Path, tmp_path: Path) -> None:
    look = examine([root], tmp_path / "scratch")
    hashed = look.findings["item"][look.findings["kind"] == "unlisted_file"].item()
    assert look.places[hashed] == str(root / f"Videos/{NAME}_stray.avi")
    local = places_csv(look.findings, look.places).decode()
    assert "stays at this institution" in local.splitlines()[0]
    assert f"{hashed},{root}/Videos/{NAME}_stray.avi" in local


@pytest.mark.parametrize(
    ("dataset", "item", "published"),
    [
        ("echonet_dynamic", "Videos/0X1A544C3D9185E642.avi", True),
        ("echonet_dynamic", "FileList.csv:17", True),
        ("echonet_dynamic", f"Videos/{NAME}.avi", False),
        ("echonet_dynamic", "Videos/0X1A.Smith.avi", False),
        ("echonet_dynamic", "Videos/.Smith.avi", False),
        ("echonet_pediatric", "A4C/Videos/CR32a7555-CR32a7582-000039.avi", True),
        ("camus", "database_nifti/patient0001/patient0001_2CH_half_sequence.nii.gz", True),
        ("mimic_iv_echo", "files/p15/p15000000/s95000000/95000000_0001.dcm", True),
        ("hmc_qu", "A4C/export of tuesday.avi", False),
        ("tmed2", "view_labeled_set/labeled/5269s1_0.PNG", True),
    ],
)
def test_what_a_publisher_named(dataset: str, item: str, published: bool) -> None:
    assert is_published(dataset, item) == published
