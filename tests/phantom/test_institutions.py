"""Institutions on disk: repeatable, honest about what was spoilt, and read as their truth says."""

from pathlib import Path

import pandas as pd
import pytest

from echofm_core.data.readers.registry import read_roots
from echofm_core.errors import DataRootError
from echofm_core.phantom.institutions import PhantomSize, write_institutions

SIZE = PhantomSize(echonet=4, camus=4, mimic=2, tmed=5)


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(".gz")  # gzip keeps the time of day
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("phantom") / "data"
    write_institutions(path, size=SIZE, seed=3)
    return path


def test_the_same_seed_writes_the_same_files(folder: Path, tmp_path: Path) -> None:
    write_institutions(tmp_path / "again", size=SIZE, seed=3)
    assert content(tmp_path / "again") == content(folder)


def test_it_never_writes_into_somebody_elses_folder(folder: Path) -> None:
    with pytest.raises(DataRootError, match="not empty"):
        write_institutions(folder, size=SIZE, seed=3)


@pytest.mark.parametrize("root", ["EchoNet-Dynamic", "CAMUS_public", "approved_users_only"])
def test_labels_that_are_read_are_the_truth(folder: Path, root: str) -> None:
    manifest, _ = read_roots([folder / root])
    truth = pd.read_csv(folder / f"{root}.truth.csv", dtype={"clip": str}).set_index("clip")
    for row in manifest.itertuples():
        if str(row.study_id) not in truth.index:
            continue  # a planted extra, e.g. the study without a diagnosis
        drawn = truth.loc[str(row.study_id)]
        if root == "approved_users_only":
            assert row.as_grade == drawn["as_grade"]
        else:
            assert row.ef == pytest.approx(drawn["ef"], abs=0.51)  # CAMUS rounds EF


def test_what_was_planted_is_found_by_its_kind(folder: Path) -> None:
    """Damage that only decoding shows (truncated, undecodable) is the clip store's to find."""
    _, findings = read_roots([folder])
    found = set(findings.table()["kind"])
    late = {"truncated_clip", "undecodable"}
    for name in ("EchoNet-Dynamic", "CAMUS_public", "approved_users_only", "mimic-iv-echo/1.0"):
        planted = pd.read_csv(folder / f"{name}.planted.csv")
        assert set(planted["kind"]) - late <= found, name


def test_the_real_cine_is_one_clip_among_the_phantoms(folder: Path) -> None:
    manifest, _ = read_roots([folder / "mimic-iv-echo" / "1.0"])
    real = manifest[manifest["vendor"].str.contains("SonoSite")]
    assert len(real) == 1
    assert int(real["n_frames"].iloc[0]) == 30 and real["fps"].iloc[0] == pytest.approx(30, abs=0.1)
