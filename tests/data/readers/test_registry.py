from __future__ import annotations

from pathlib import Path

import pytest

from echofm_core.data.config import DataConfig, MimicConfig, Tmed2Config
from echofm_core.data.readers.mimic_iv_echo import MimicIvEchoReader
from echofm_core.data.readers.registry import READERS, read_roots, readers
from echofm_core.data.readers.tmed2 import Tmed2Reader
from echofm_core.errors import DataRootError
from tests.data.files import speckle, write_avi

ROWS = "FileName,EF,ESV,EDV,Split\n0XA,60,40,100,TRAIN\n"


def echonet(root: Path) -> Path:
    (root / "Videos").mkdir(parents=True)
    write_avi(root / "Videos" / "0XA.avi", speckle(10))
    (root / "FileList.csv").write_text(ROWS)
    return root


def test_names_are_the_institutions() -> None:
    names = [reader.dataset for reader in READERS]
    assert names[:4] == ["echonet_dynamic", "camus", "tmed2", "mimic_iv_echo"]
    assert len(set(names)) == len(names)


def test_a_plans_choices_reach_the_readers_that_have_any() -> None:
    config = DataConfig(tmed2=Tmed2Config(fold=2), mimic_iv_echo=MimicConfig(measurements=False))
    chosen = {reader.dataset: reader for reader in readers(config)}
    tmed2, mimic = chosen["tmed2"], chosen["mimic_iv_echo"]
    assert isinstance(tmed2, Tmed2Reader) and tmed2.config.fold == 2
    assert isinstance(mimic, MimicIvEchoReader) and not mimic.config.measurements


@pytest.mark.parametrize("below", ["", "EchoNet-Dynamic", "stanford/EchoNet-Dynamic"])
def test_a_layout_is_found_two_folders_deep(tmp_path: Path, below: str) -> None:
    echonet(tmp_path / below)
    manifest, _ = read_roots([tmp_path])
    assert manifest["clip_id"].tolist() == ["0XA"]


def test_the_same_root_twice_is_read_once(tmp_path: Path) -> None:
    echonet(tmp_path / "a")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    manifest, findings = read_roots([tmp_path, tmp_path / "a"])
    assert len(manifest) == 1
    assert "duplicate_clip" not in set(findings.table()["kind"])


def test_a_clip_in_two_roots_is_used_once(tmp_path: Path) -> None:
    manifest, findings = read_roots([echonet(tmp_path / "a"), echonet(tmp_path / "b")])
    assert manifest["path"].tolist() == [str(tmp_path / "a" / "Videos" / "0XA.avi")]
    assert "duplicate_clip" in set(findings.table()["kind"])


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataRootError, match="does not exist"):
        read_roots([tmp_path / "none"])


def test_an_unknown_layout_is_named(tmp_path: Path) -> None:
    (tmp_path / "a" / "b" / "c" / "Videos").mkdir(parents=True)
    with pytest.raises(DataRootError, match="echonet_dynamic, camus, tmed2, mimic_iv_echo"):
        read_roots([tmp_path])


def test_nothing_usable_is_an_error(tmp_path: Path) -> None:
    root = echonet(tmp_path)
    (root / "Videos" / "0XA.avi").unlink()
    with pytest.raises(DataRootError, match="none of the"):
        read_roots([root])
