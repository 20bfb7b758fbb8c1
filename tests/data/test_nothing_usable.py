"""`echofm data` where nothing can be read, or nothing can be written: reasons, and a code.

The doctor has done its work when it has said why; `index` and `store` have nothing to hand on.
"""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from echofm_core.data import commands
from echofm_core.data.manifest import manifest_from_rows, save_manifest
from echofm_core.data.patients import write_secret
from echofm_core.runtime.errors import (
    DataRootError,
    EchoFMError,
    NothingUsableError,
    OutputError,
    StoreError,
)
from tests.data.dicom.made import write_encapsulated
from tests.data.files import header, save_dicom, speckle, with_pixels, write_avi

#: A coding that pydicom writes, and one as long that no decoder here has: JPEG XL.
HTJ2K, JPEG_XL = b"1.2.840.10008.1.2.4.201", b"1.2.840.10008.1.2.4.110"
MAPPING = 'dataset = "north"\nsecret = "site.secret"\n'


def no_pixels(folder: Path) -> None:
    dataset = with_pixels(header(), "MONOCHROME2", speckle(8))
    dataset.NumberOfFrames, dataset.PixelData = 0, b""
    save_dicom(folder / "a.dcm", dataset)


def two_frames(folder: Path) -> None:
    save_dicom(folder / "a.dcm", with_pixels(header(), "MONOCHROME2", speckle(2)))


def three_frames(folder: Path) -> None:
    write_avi(folder / "a.avi", speckle(3, 112, 112))


def unknown_coding(folder: Path) -> None:
    images = [b"\xff\x0a12345678"] * 9
    file = write_encapsulated(folder / "a.dcm", images, HTJ2K.decode(), speckle(9))
    file.write_bytes(file.read_bytes().replace(HTJ2K, JPEG_XL))


def nothing(folder: Path) -> None:
    (folder / "notes.txt").write_text("no recording")


#: What makes a folder of which nothing can be used, and the kind of finding that says so.
FOLDERS = {
    no_pixels: {"undecodable", "still"},
    two_frames: {"too_few_frames"},
    three_frames: {"too_few_frames"},
    unknown_coding: {"undecodable"},
    nothing: {"nothing_known"},
}


def run(*words: object) -> tuple[str, EchoFMError | None]:
    """What a command printed, and the sentence it ended with."""
    app = typer.Typer()
    commands.register(app)
    app.command("other")(lambda: None)
    result = CliRunner().invoke(app, ["data", *map(str, words)])
    error = result.exception
    assert error is None or isinstance(error, EchoFMError), repr(error)
    return result.output, error


def unfolded(printed: str) -> str:
    """What was printed, without the line ends of a narrow terminal."""
    return " ".join(printed.split())


@pytest.fixture(params=FOLDERS, ids=lambda make: make.__name__)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, set[str]]:
    place = tmp_path / "export"
    place.mkdir()
    request.param(place)
    return place, FOLDERS[request.param]


def test_the_doctor_reports_and_ends_well(folder: tuple[Path, set[str]], tmp_path: Path) -> None:
    place, kinds = folder
    printed, error = run("doctor", place, "--out", tmp_path / "doctor", "--workers", 1)
    assert error is None
    report = json.loads((tmp_path / "doctor/doctor.json").read_text())
    assert report["clips"] == 0
    severity = "noted" if "nothing_known" in kinds else "quarantined"  # a folder is no file
    found = [item for item in report["findings"] if item["severity"] == severity]
    assert {item["kind"] for item in found} <= kinds
    assert len(found) == 1
    files = "0 files or rows are" if severity == "noted" else "1 file or row is"
    assert f"0 clips can be used; {files} quarantined" in printed
    assert f"{found[0]['kind']} 1 {found[0]['reason']}" in unfolded(printed)
    assert (tmp_path / "doctor/doctor.html").stat().st_size > 1000


def test_index_then_store_end_with_their_own_code(
    folder: tuple[Path, set[str]], tmp_path: Path
) -> None:
    """Reasons are printed and written; there is no manifest of nothing."""
    place, kinds = folder
    (place / "echofm.toml").write_text(MAPPING)
    write_secret(place / "site.secret")
    manifest, listed = tmp_path / "m.parquet", tmp_path / "f.csv"
    printed, error = run("index", place, "--out", manifest, "--findings", listed)
    if error is None:  # only decoding tells
        command = ("store", manifest, "--out", tmp_path / "stores", "--workers", 1)
        printed, error = run(*command, "--findings", listed)
    else:
        assert not manifest.exists()
    assert isinstance(error, NothingUsableError)
    assert error.exit_code == 31
    if "nothing_known" not in kinds:
        (kind,) = pd.read_csv(listed)["kind"][lambda kind: kind != "no_patient"].unique()[-1:]
        assert kind in kinds
        assert kind in printed
        for reason in pd.read_csv(listed)["reason"]:
            assert reason in unfolded(printed)


def test_a_mistyped_place_gets_no_report_folder(tmp_path: Path) -> None:
    _, error = run("doctor", tmp_path / "none", "--out", tmp_path / "doctor")
    assert isinstance(error, DataRootError)
    assert not (tmp_path / "doctor").exists()


def test_a_manifest_without_rows_is_no_store(tmp_path: Path) -> None:
    save_manifest(manifest_from_rows([]), tmp_path / "m.parquet")
    _, error = run("store", tmp_path / "m.parquet", "--out", tmp_path / "stores")
    assert isinstance(error, NothingUsableError)


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """A hospital's folder of three cines that compress badly."""
    place = tmp_path / "export"
    place.mkdir()
    (place / "echofm.toml").write_text(MAPPING)
    write_secret(place / "site.secret")
    for number in range(3):
        write_avi(place / f"{number}.avi", speckle(30, 112, 112, seed=number))
    return place


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Files end at 40 kB, as on a disk that is full: the system's own error, of any writer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_ends_doctor_and_store_with_a_sentence(export: Path, tmp_path: Path) -> None:
    _, error = run("doctor", export, "--out", tmp_path / "doctor", "--workers", 1)
    assert isinstance(error, StoreError)
    run("index", export, "--out", tmp_path / "m.parquet")
    for workers in (1, 2):
        words = ("--out", tmp_path / "stores", "--workers", workers)
        _, error = run("store", tmp_path / "m.parquet", *words)
        assert isinstance(error, StoreError)
        assert "cannot be written" in str(error)


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_ends_index_with_a_sentence_and_no_half_file(
    export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = manifest_from_rows(
        {"dataset": "north", "patient_id": f"{number}", "clip_id": f"c{number}",
         "path": np.random.default_rng(number).bytes(20).hex()}
        for number in range(3000)
    )  # fmt: skip
    from echofm_core.data.readers import registry

    monkeypatch.setattr(registry, "joined", lambda *_: many)
    (tmp_path / "out").mkdir()
    _, error = run("index", export, "--out", tmp_path / "out/m.parquet")
    assert isinstance(error, OutputError)
    assert "m.parquet cannot be written" in str(error)
    assert not [file for file in (tmp_path / "out").iterdir() if "parquet" in file.name]


def test_a_place_that_cannot_be_written_is_a_sentence(export: Path, tmp_path: Path) -> None:
    """A file where a folder should be: refused to everybody, the superuser too."""
    (tmp_path / "file").write_text("here")
    place = tmp_path / "file/below"
    _, error = run("doctor", export, "--out", place)
    assert isinstance(error, OutputError)
    _, error = run("index", export, "--out", place / "m.parquet")
    assert isinstance(error, OutputError)
    _, error = run("index", export, "--out", tmp_path / "m.parquet", "--findings", place)
    assert isinstance(error, OutputError)
    _, error = run("store", tmp_path / "m.parquet", "--out", place)
    assert isinstance(error, OutputError)
    assert os.fspath(place) in str(error)


def test_the_owner_of_loose_files_can_trace_what_was_found(export: Path, tmp_path: Path) -> None:
    """By a list beside the report or the manifest, and by nothing that may leave."""
    (export / "Smith John.avi").write_bytes(b"no video")
    (export / "empty.avi").write_bytes(b"")
    run("doctor", export, "--out", tmp_path / "doctor", "--workers", 1)
    run("index", export, "--out", tmp_path / "m.parquet", "--findings", tmp_path / "f.csv")
    for found, local in (
        (tmp_path / "doctor/findings.csv", tmp_path / "doctor/files-stay-here.csv"),
        (tmp_path / "f.csv", tmp_path / "m.files-stay-here.csv"),
    ):
        assert "Smith" not in found.read_text()
        places = pd.read_csv(local).set_index("item")["path (stays at this institution)"]
        table = pd.read_csv(found)
        (item,) = table[table["kind"] == "empty_file"]["item"]
        assert places[item] == str(export / "empty.avi")
