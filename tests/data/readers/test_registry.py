from __future__ import annotations

import os
from pathlib import Path

import pytest

from echofm_core.data.config import DataConfig, MimicConfig, Tmed2Config
from echofm_core.data.patients import PUBLISHED
from echofm_core.data.readers.mimic_iv_echo import MimicIvEchoReader
from echofm_core.data.readers.registry import FEW, READERS, find_layouts, read_roots, readers
from echofm_core.data.readers.tmed2 import Tmed2Reader
from echofm_core.runtime.errors import DataRootError
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


@pytest.mark.parametrize("below", ["", "EchoNet-Dynamic", "stanford/EchoNet-Dynamic", "a/b/c/d"])
def test_a_layout_is_found_four_folders_deep(tmp_path: Path, below: str) -> None:
    echonet(tmp_path / below)
    manifest, _ = read_roots([tmp_path])
    assert manifest["clip_id"].tolist() == ["0XA"]


@pytest.mark.parametrize("root", ["physionet.org", "", "physionet.org/files"])
def test_physionet_s_downloads_are_found_where_wget_leaves_them(tmp_path: Path, root: str) -> None:
    """Two projects, one in two versions, beside wget's own file and another data set."""
    files = tmp_path / "physionet.org/files"
    for place in ("mimic-iv-echo/0.1", "mimic-iv-echo/1.0"):
        (files / place / "files/p10").mkdir(parents=True)
        (files / place / "echo-record-list.csv").touch()
    (files / "lvvol/1.0.0/dicom").mkdir(parents=True)
    (files / "lvvol/1.0.0/FileList.csv").touch()
    (tmp_path / "physionet.org/robots.txt").touch()
    echonet(tmp_path / "stanford")
    found = [
        (reader.dataset, place.relative_to(files).as_posix())
        for reader, place in find_layouts(tmp_path / root)
        if place.is_relative_to(files)
    ]
    assert found == [
        ("mimic_lvvol_a4c", "lvvol/1.0.0"),
        ("mimic_iv_echo", "mimic-iv-echo/0.1"),
        ("mimic_iv_echo", "mimic-iv-echo/1.0"),
    ]


def test_folders_full_of_patients_are_not_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A MIMIC tree whose record list is missing, and one that is found: no study is looked at."""
    for number in range(FEW + 1):
        (tmp_path / f"1.0/files/p10/p{number}/s1").mkdir(parents=True)
        (tmp_path / f"1.1/files/p10/p{number}/s1").mkdir(parents=True)
    (tmp_path / "1.1/echo-record-list.csv").touch()
    listed: list[str] = []
    scandir = os.scandir

    def spy(folder: Path) -> object:
        listed.append(Path(folder).relative_to(tmp_path).as_posix())
        return scandir(folder)

    monkeypatch.setattr("echofm_core.data.readers.registry.os.scandir", spy)
    assert [place.name for _, place in find_layouts(tmp_path)] == ["1.1"]
    assert listed == [".", "1.0", "1.0/files", "1.0/files/p10"]


def test_links_that_lead_in_circles_are_followed_once(tmp_path: Path) -> None:
    echonet(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/again").symlink_to(tmp_path / "a")
    (tmp_path / "b/up").symlink_to(tmp_path)
    (tmp_path / "b/nowhere").symlink_to(tmp_path / "none")
    assert [place for _, place in find_layouts(tmp_path)] == [tmp_path / "a"]


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
    known = "echonet_dynamic, camus, tmed2, mimic_iv_echo.* or write echofm.toml beside files of"
    with pytest.raises(DataRootError, match=known):
        read_roots([tmp_path])


def test_an_empty_root_is_called_empty(tmp_path: Path) -> None:
    with pytest.raises(DataRootError, match="is empty"):
        read_roots([tmp_path])


def test_of_a_root_of_which_nothing_is_usable_the_reasons_come(tmp_path: Path) -> None:
    root = echonet(tmp_path)
    (root / "Videos" / "0XA.avi").unlink()
    manifest, findings = read_roots([root])
    assert manifest.empty
    assert "missing_file" in set(findings.table()["kind"])


def test_what_is_published_is_what_public_readers_read() -> None:
    """Decoding trusts a prepared picture by its data set's name."""
    assert {reader.dataset for reader in READERS if reader.public} == set(PUBLISHED)
