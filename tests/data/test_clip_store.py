from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from echofm_core.data import store_build, store_parts
from echofm_core.data.clip_store import ClipStore, build_store, open_stores
from echofm_core.data.config import DataConfig
from echofm_core.data.manifest import manifest_from_rows
from echofm_core.errors import StoreError
from tests.data.files import speckle, write_avi, write_jpeg_cine

CONFIG = DataConfig(size=32, frames=4)


@pytest.fixture
def manifest(tmp_path: Path) -> pd.DataFrame:
    """Two videos, one cine, one short video, one missing and one damaged file."""
    write_avi(tmp_path / "a.avi", speckle(20, 64, 64, seed=1), 50)
    write_avi(tmp_path / "b.avi", speckle(12, 64, 64, seed=2), 25)
    write_jpeg_cine(tmp_path / "c.dcm", speckle(10, 64, 64, seed=3))
    write_avi(tmp_path / "short.avi", speckle(3, 64, 64, seed=4))
    (tmp_path / "junk.avi").write_bytes(b"junk")
    names = ("a.avi", "b.avi", "c.dcm", "short.avi", "junk.avi", "none.avi")
    return manifest_from_rows(
        {
            "dataset": "d",
            "patient_id": name,
            "clip_id": Path(name).stem,
            "path": str(tmp_path / name),
            "n_frames": 20 if name == "b.avi" else None,
            "fps": 30.0 if name == "b.avi" else None,
        }
        for name in names
    )


def test_store_serves_what_was_decoded(manifest: pd.DataFrame, tmp_path: Path) -> None:
    store, findings = build_store(manifest, tmp_path / "s", CONFIG)
    assert list(store.index.index) == ["a", "b", "c"]
    assert [store.length(clip) for clip in "abc"] == [20, 12, 10]
    assert store.fps("a") == pytest.approx(50)
    assert store.fps("b") == pytest.approx(30)  # the manifest knows better than the container
    assert store.fps("c") is None
    assert store.frames("b", 3, 7).shape == (4, 32, 32)
    assert store.frames("b", 3, 7).dtype == np.uint8
    assert not store.frames("a")[:, ~store.sector("a")].any()
    assert store.frames("a")[:, store.sector("a")].mean() > 60
    table = findings.table().set_index("item")
    assert table.loc["short", "kind"] == "too_few_frames"
    assert table.loc["junk", "kind"] == "undecodable"
    assert table.loc["none", "kind"] == "missing_file"
    assert table.loc["b", ["kind", "severity"]].tolist() == ["truncated_clip", "repaired"]
    assert findings.quarantined() == 3


def test_frames_are_the_letterboxed_source(tmp_path: Path) -> None:
    """Against an independent resize: block means of the wedge's frames, two by two."""
    frames = speckle(10, 64, 64)
    write_jpeg_cine(tmp_path / "c.dcm", frames)
    rows = [{"dataset": "d", "patient_id": "p", "clip_id": "c", "path": str(tmp_path / "c.dcm")}]
    store, _ = build_store(manifest_from_rows(rows), tmp_path / "s", CONFIG)
    means = frames.reshape(10, 32, 2, 32, 2).mean(axis=(2, 4))
    sector = store.sector("c")
    assert np.abs(store.frames("c").astype(float) - means)[:, sector].mean() < 5


def test_same_bits_for_any_number_of_workers(manifest: pd.DataFrame, tmp_path: Path) -> None:
    one, first = build_store(manifest, tmp_path / "one", CONFIG, workers=1)
    two, second = build_store(manifest, tmp_path / "two", CONFIG, workers=2)
    assert one.digest() == two.digest()
    pd.testing.assert_frame_equal(one.index, two.index)
    pd.testing.assert_frame_equal(first.table(), second.table())


def test_second_build_decodes_nothing(
    manifest: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, findings = build_store(manifest, tmp_path / "s", CONFIG)
    calls = _count_decodes(monkeypatch)
    again, same = build_store(manifest, tmp_path / "s", CONFIG)
    assert again.digest() == store.digest()
    assert set(calls) <= {"short.avi", "junk.avi"}  # not in the store, so tried again
    pd.testing.assert_frame_equal(findings.table(), same.table())


def test_only_changed_content_is_decoded(
    manifest: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = manifest[manifest["clip_id"].isin(["a", "b", "c"])]
    before, _ = build_store(manifest, tmp_path / "s", CONFIG)
    digest, kept = before.digest(), before.frames("a").copy()
    write_avi(tmp_path / "b.avi", speckle(15, 64, 64, seed=9))
    os.utime(tmp_path / "c.dcm", ns=(1, 1))  # touched, the same content
    calls = _count_decodes(monkeypatch)
    after, _ = build_store(manifest, tmp_path / "s", CONFIG)
    assert calls == ["b.avi"]
    assert after.length("b") == 15
    assert after.digest() != digest
    np.testing.assert_array_equal(after.frames("a"), kept)
    fresh, _ = build_store(manifest, tmp_path / "fresh", CONFIG)
    assert fresh.digest() == after.digest()


def test_killed_build_goes_on(
    manifest: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = manifest[manifest["clip_id"].isin(["a", "b", "c"])]
    with monkeypatch.context() as patch:
        patch.setattr(store_build, "_install", _killed)
        with pytest.raises(KeyboardInterrupt):
            build_store(manifest, tmp_path / "s", CONFIG)
    with pytest.raises(StoreError, match="no clip store"):
        ClipStore.open(tmp_path / "s")
    calls = _count_decodes(monkeypatch)
    store, _ = build_store(manifest, tmp_path / "s", CONFIG)
    assert calls == []
    assert len(store) == 3
    assert sorted(item.name[:4] for item in (tmp_path / "s").iterdir()) == ["data", "meta"]


def test_another_size_is_another_store(manifest: pd.DataFrame, tmp_path: Path) -> None:
    build_store(manifest, tmp_path / "s", CONFIG)
    store, _ = build_store(manifest, tmp_path / "s", DataConfig(size=48))
    assert store.size == 48
    assert store.frames("a").shape == (20, 48, 48)


def test_full_disk_is_refused_before_decoding(
    manifest: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(store_build.shutil, "disk_usage", lambda _: usage)
    calls = _count_decodes(monkeypatch)
    with pytest.raises(StoreError, match="GB are free"):
        build_store(manifest, tmp_path / "s", CONFIG)
    assert calls == []


@pytest.mark.parametrize("name", ["meta.json", "frames.npy", "index.parquet", "sectors.npy"])
def test_damaged_store_is_named_and_rebuilt(
    manifest: pd.DataFrame, tmp_path: Path, name: str
) -> None:
    digest = build_store(manifest, tmp_path / "s", CONFIG)[0].digest()
    (file,) = (tmp_path / "s").rglob(name)
    file.write_bytes(file.read_bytes()[:-100][:200])
    with pytest.raises(StoreError, match="damaged"):
        ClipStore.open(tmp_path / "s")
    assert build_store(manifest, tmp_path / "s", CONFIG)[0].digest() == digest


def test_nothing_usable_is_an_empty_store(manifest: pd.DataFrame, tmp_path: Path) -> None:
    store, findings = build_store(manifest[manifest["clip_id"] == "junk"], tmp_path / "s", CONFIG)
    assert len(store) == 0
    assert findings.quarantined() == 1


def test_stores_side_by_side_and_over_processes(manifest: pd.DataFrame, tmp_path: Path) -> None:
    first, _ = build_store(manifest[:1], tmp_path / "all" / "x", CONFIG)
    build_store(manifest[1:3], tmp_path / "all" / "y", CONFIG)
    both = pickle.loads(pickle.dumps(open_stores(tmp_path / "all")))
    assert sorted(both.index.index) == ["a", "b", "c"]
    np.testing.assert_array_equal(both.frames("a"), first.frames("a"))
    with pytest.raises(StoreError, match="more than one store"):
        ClipStore([tmp_path / "all" / "x", tmp_path / "all" / "x"])


def test_a_clip_that_is_not_there(manifest: pd.DataFrame, tmp_path: Path) -> None:
    store, _ = build_store(manifest[:1], tmp_path / "s", CONFIG)
    assert "junk" not in store
    with pytest.raises(StoreError, match="not in the store"):
        store.frames("junk", 0, 1)
    with pytest.raises(StoreError, match="has 20"):
        store.frames("a", 0, 21)


def test_a_decoder_that_dies_is_one_sentence(
    manifest: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_build, "prepare", _die)
    with pytest.raises(StoreError, match="process died"):
        build_store(manifest, tmp_path / "s", CONFIG, workers=2)


def _die(_: object) -> None:
    os._exit(9)


def _count_decodes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []
    real = store_parts.decode_clip

    def counted(path: str, dataset: str) -> object:
        calls.append(Path(path).name)
        return real(path, dataset)

    monkeypatch.setattr(store_parts, "decode_clip", counted)
    return calls


def _killed(*_: object) -> None:
    raise KeyboardInterrupt
