"""`echofm data store`: all disks first, all data sets, one list of what was wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from echofm_core.data import commands
from echofm_core.data.config import DataConfig
from echofm_core.data.manifest import manifest_from_rows, save_manifest
from echofm_core.data.store import space as store_space
from echofm_core.data.store.build import build_store
from echofm_core.data.store.clip_store import open_stores
from echofm_core.data.store.install import sole_builder
from echofm_core.runtime.errors import StoreError
from tests.data.files import speckle, write_avi

#: Frames of the videos of each data set.
LENGTHS = {"one": (10, 12), "two": (20,), "three": (9,)}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rows: list[dict[str, object]] = []
    for dataset, lengths in LENGTHS.items():
        for number, length in enumerate(lengths):
            path = write_avi(tmp_path / f"{dataset}{number}.avi", speckle(length, seed=number))
            rows.append(
                {"dataset": dataset, "patient_id": path.stem, "clip_id": path.stem,
                 "path": str(path), "n_frames": length}
            )  # fmt: skip
    save_manifest(manifest_from_rows(rows), tmp_path / "m.parquet")
    return tmp_path / "m.parquet"


def run(*words: object) -> str:
    app = typer.Typer()
    commands.register(app)
    app.command("other")(lambda: None)
    result = CliRunner().invoke(app, ["data", "store", *map(str, words)])
    if result.exception is not None:
        raise result.exception
    return result.output


#: As a person writes a count.
WRITTEN = {1: "1 clip", 2: "2 clips"}


def test_every_data_set_gets_its_store(manifest: Path, tmp_path: Path) -> None:
    """All cores by default; the bits are those of a build in one process."""
    printed = run(manifest, "--out", tmp_path / "stores", "--size", 32)
    stores = open_stores(tmp_path / "stores")
    assert sorted(stores.index.index) == ["one0", "one1", "three0", "two0"]
    clips = pd.read_parquet(manifest)
    for dataset in LENGTHS:
        rows = clips[clips["dataset"] == dataset].reset_index(drop=True)
        alone, _ = build_store(rows, tmp_path / "alone" / dataset, DataConfig(size=32))
        assert f"{dataset}: {WRITTEN[len(rows)]}, digest {alone.digest()[:16]}" in printed


def test_all_stores_must_fit_before_the_first_is_begun(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand, at 32 x 32 = 1,024 bytes a frame and one sector a clip.

    Stores: 11 + 13, 21 and 10 frames, 56,320 bytes in all; the parts of one data set at a time:
    24 frames at most, 24,576 bytes.
    """
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(
        store_space.shutil, "disk_usage", lambda _: usage._replace(free=56_320 + 24_576 - 1)
    )
    with pytest.raises(StoreError, match=r"needs about 0.1 MB .* 0.1 MB are free"):
        run(manifest, "--out", tmp_path / "stores", "--size", 32)
    assert not list((tmp_path / "stores").rglob("*.*"))
    monkeypatch.setattr(
        store_space.shutil, "disk_usage", lambda _: usage._replace(free=56_320 + 24_576)
    )
    run(manifest, "--out", tmp_path / "stores", "--size", 32)
    assert len(open_stores(tmp_path / "stores")) == 4


def test_a_store_that_another_process_builds_is_left_to_it(manifest: Path, tmp_path: Path) -> None:
    with sole_builder(tmp_path / "stores" / "two"), pytest.raises(StoreError, match="two; wait"):
        run(manifest, "--out", tmp_path / "stores", "--size", 32)
    assert not list((tmp_path / "stores").rglob("meta.json"))


def test_what_is_wrong_is_listed_once(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "two0.avi").write_bytes(b"junk")
    (tmp_path / "three0.avi").unlink()
    run(manifest, "--out", tmp_path / "s", "--size", 32, "--findings", tmp_path / "f.csv")
    found = pd.read_csv(tmp_path / "f.csv")
    assert sorted(zip(found["item"], found["kind"], strict=True)) == [
        ("three0", "missing_file"),
        ("two0", "undecodable"),
    ]
