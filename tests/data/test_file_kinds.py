"""Kinds of file by name and first bytes; an archive's export through index, doctor and store."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest
import typer
from pydicom.data import get_testdata_file
from typer.testing import CliRunner

from echofm_core.data import commands
from echofm_core.data.file_kinds import Kind, files_below, kind_of
from echofm_core.data.patients import write_secret
from echofm_core.data.store.clip_store import open_stores
from tests.data.files import speckle, write_avi, write_jpeg_cine

MAGIC = bytes(128) + b"DICM"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.AVI", Kind.AVI), ("b.mp4", Kind.MP4), ("c.Dcm", Kind.DICOM), ("d.nii", Kind.NIFTI),
        ("e.NII.gz", Kind.NIFTI_PACKED), ("f.mhd", Kind.MHD), ("g.png", Kind.PNG),
        ("h.gz", None), ("i.txt", None), ("j.5x", None), ("none", None), ("1.2.3", None),
    ],
)  # fmt: skip
def test_a_name_says_the_kind(tmp_path: Path, name: str, kind: Kind | None) -> None:
    """The file is not there, so that nothing else can."""
    assert kind_of(tmp_path / name) is kind
    assert kind_of(str(tmp_path / name)) is kind


@pytest.mark.parametrize("name", ["IM000001", "1.2.840.113619.2.5", "0007", "MRI."])
def test_a_name_that_says_nothing_is_opened(tmp_path: Path, name: str) -> None:
    """Magic and nothing else: neither a cut one, nor text, nor a video that lost its ending."""
    for content, kind in (
        (MAGIC, Kind.DICOM), (b"\xff" * 128 + b"DICM and more", Kind.DICOM), (MAGIC[:-1], None),
        (MAGIC[1:] + b"M", None), (b"", None), (b"DICM" * 9, None), (b"RIFF" + bytes(200), None),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(content)
        assert kind_of(tmp_path / name) is kind, content


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\x02\0\0\0UL\4\0", Kind.DICOM),  # meta information without preamble
        (b"\x08\0\5\0CS\x0a\0", Kind.DICOM),  # elements alone, explicit
        (b"\x08\0\x16\0\x1c\0\0\0", Kind.DICOM),  # and implicit
        (b"\x08\0\x16\0\xff\xff\xff\xff", None),  # of four gigabytes
        (b"\x10\0\5\0CS\x0a\0", None),  # does not come first
        (b"\x08\0\5\7CS\x0a\0", None),
        (b"\x08\0\5\0CS", None),
    ],
)
def test_dicom_without_its_marker_begins_with_an_element(
    tmp_path: Path, start: bytes, kind: Kind | None
) -> None:
    (tmp_path / "IM1").write_bytes(start + bytes(200) * (len(start) > 7))
    assert kind_of(tmp_path / "IM1") is kind


@pytest.mark.parametrize("name", ["a.txt", "a.ima", "a.5b", "DICOMDIR", "dicomdir", "DICOMDIR.1"])
def test_other_names_are_not_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(MAGIC)
    assert kind_of(tmp_path / name) is None


def test_what_is_no_file_is_none(tmp_path: Path) -> None:
    """A pipe least of all: opening it would wait for ever."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("folder", "pipe", "dangling", "x" * 5000, "nul\0"):
        assert kind_of(f"{tmp_path}/{name}") is None


def run(*words: object) -> str:
    app = typer.Typer()
    commands.register(app)
    app.command("other")(lambda: None)
    result = CliRunner().invoke(app, ["data", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """What a medium holds: an index (a real one), cines by number and by UID, notes, a video."""
    folder = tmp_path / "export"
    (folder / "IMAGES").mkdir(parents=True)
    index = get_testdata_file("dicomdirtests/DICOMDIR") or get_testdata_file("DICOMDIR")
    assert index is not None
    (folder / "DICOMDIR").write_bytes(Path(index).read_bytes())
    write_jpeg_cine(folder / "IMAGES/IM000001", speckle(12), PatientID="A", FrameTime="20")
    uid = "IMAGES/1.2.840.113619.2.5"
    write_jpeg_cine(folder / uid, speckle(12, seed=1), PatientID="B", FrameTime="20")
    (folder / "IMAGES/IM000003").write_bytes(MAGIC + b"\xff" * 300)  # DICOM, damaged
    (folder / "README").write_text("Open DICOMDIR with the viewer.\n" * 9)
    write_avi(folder / "IMAGES/clip.avi", speckle(12, seed=2))
    return folder


def test_an_archive_s_export_is_read(export: Path, tmp_path: Path) -> None:
    """Doctor as it lies; index with a mapping and store: two DICOM cines, a video, one damaged."""
    run("doctor", export, "--out", tmp_path / "doctor", "--workers", 1)
    found = pd.read_csv(tmp_path / "doctor/findings.csv")
    assert sorted(found["kind"]) == ["no_patient", "no_region", "no_region", "undecodable"]

    write_secret(tmp_path / "site.secret")
    mapping = f'dataset = "north"\nsecret = "{tmp_path}/site.secret"\n'
    (export / "echofm.toml").write_text(mapping)
    manifest = tmp_path / "m.parquet"
    run("index", export, "--out", manifest)
    clips = pd.read_parquet(manifest)
    assert sorted(Path(path).name for path in clips["path"]) == [
        "1.2.840.113619.2.5", "IM000001", "clip.avi",
    ]  # fmt: skip
    assert "Nothing was wrong" in run("store", manifest, "--out", tmp_path / "s", "--workers", 1)
    stores = open_stores(tmp_path / "s")
    assert {stores.length(str(clip)) for clip in clips["clip_id"]} == {12}


def test_a_table_names_them_as_they_are(export: Path, tmp_path: Path) -> None:
    write_secret(tmp_path / "site.secret")
    (export / "echofm.toml").write_text(
        f'dataset = "north"\nsecret = "{tmp_path}/site.secret"\ntable = "list.csv"\n'
        '[columns]\npath = "File"\npatient_id = "MRN"\n'
    )
    (export / "list.csv").write_text("File,MRN\nIMAGES\\IM000001,1\nDICOMDIR,1\nREADME,1\n")
    run("index", export, "--out", tmp_path / "m.parquet", "--findings", tmp_path / "f.csv")
    kinds = pd.read_csv(tmp_path / "f.csv")["kind"].value_counts().to_dict()
    assert kinds == {"stray_file": 2, "unlisted_file": 3, "no_region": 1}
    assert len(pd.read_parquet(tmp_path / "m.parquet")) == 1


def test_files_of_a_kind_below_a_folder(tmp_path: Path) -> None:
    """In the order of folders, not of text: `/` would come after `-`. Links are not entered."""
    (tmp_path / "b").mkdir()
    (tmp_path / "b-c").mkdir()
    for name in ("z.dcm", "b/1.DCM", "b-c/2.dcm", "b/no.txt"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert files_below(tmp_path, {Kind.DICOM}) == ["b/1.DCM", "b-c/2.dcm", "z.dcm"]
    assert files_below(tmp_path / "none", {Kind.DICOM}) == []
