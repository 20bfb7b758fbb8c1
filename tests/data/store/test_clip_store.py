from __future__ import annotations

import os
import pickle
import resource
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from echofm_core.data.config import DataConfig
from echofm_core.data.manifest import manifest_from_rows
from echofm_core.data.store import build as store_build
from echofm_core.data.store import install as store_install
from echofm_core.data.store import parts as store_parts
from echofm_core.data.store import space as store_space
from echofm_core.data.store.build import build_store
from echofm_core.data.store.clip_store import ClipStore, open_stores
from echofm_core.data.store.install import sole_builder, tidy
from echofm_core.data.windows import ClipWindows
from echofm_core.runtime.errors import StoreError
from tests.data.files import (
    speckle,
    with_jet,
    write_avi,
    write_coloured,
    write_jpeg_cine,
    write_uneven_mp4,
)

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
    said = {"b.avi": {"n_frames": 20, "fps": 30.0}}
    return manifest_from_rows(row_of(tmp_path / name, **said.get(name, {})) for name in names)


def row_of(file: Path, **columns: object) -> dict[str, object]:
    """A clip of a patient of its own, named as its file."""
    ids = dict.fromkeys(("patient_id", "clip_id"), file.stem)
    return {"dataset": "d", **ids, "path": str(file), **columns}


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
    assert list(table["severity"]).count("quarantined") == 3


def test_frames_are_the_letterboxed_source(tmp_path: Path) -> None:
    """Against an independent resize: block means of the wedge's frames, two by two."""
    frames = speckle(10, 64, 64)
    row = row_of(write_jpeg_cine(tmp_path / "c.dcm", frames))
    store, _ = build_store(manifest_from_rows([row]), tmp_path / "s", CONFIG)
    means = frames.reshape(10, 32, 2, 32, 2).mean(axis=(2, 4))
    sector = store.sector("c")
    assert np.abs(store.frames("c").astype(float) - means)[:, sector].mean() < 5


def test_same_bits_for_any_number_of_workers(manifest: pd.DataFrame, tmp_path: Path) -> None:
    here, first = build_store(manifest, tmp_path / "here", CONFIG)
    for workers in (1, 3):
        store, found = build_store(manifest, tmp_path / str(workers), CONFIG, workers=workers)
        assert store.digest() == here.digest()
        pd.testing.assert_frame_equal(store.index, here.index)
        pd.testing.assert_frame_equal(found.table(), first.table())


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
    _kill_build(manifest, tmp_path / "s", monkeypatch)
    with pytest.raises(StoreError, match="no clip store"):
        ClipStore([tmp_path / "s"])
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
    """By hand, at 32 x 32 = 1,024 bytes a frame and one sector a clip.

    a, b, c hold 20, 12 and 10 frames: 46,080 bytes with their sectors, once as parts and once in
    the store. Parts that are there already are not asked for again. A fourth clip of 9 frames takes
    10,240 bytes as a part, and the store is then written anew with 56,320.
    """
    manifest = manifest[:3].assign(n_frames=pd.array([20, 12, 10], "Int32"))
    write_avi(tmp_path / "d.avi", speckle(9), 50)
    fourth = {"clip_id": "d", "path": str(tmp_path / "d.avi"), "n_frames": 9}
    more = pd.concat([manifest, manifest[:1].assign(**fourth)], ignore_index=True)
    calls = _count_decodes(monkeypatch)

    def free(count: int) -> None:
        usage = shutil.disk_usage(tmp_path)._replace(free=count)
        monkeypatch.setattr(store_space.shutil, "disk_usage", lambda _: usage)

    free(2 * 46_080 - 1)
    with pytest.raises(StoreError, match="MB are free"):
        build_store(manifest, tmp_path / "s", CONFIG)
    assert calls == []
    free(2 * 46_080)
    _kill_build(manifest, tmp_path / "s", monkeypatch)
    free(46_079)
    with pytest.raises(StoreError, match="MB are free"):
        build_store(manifest, tmp_path / "s", CONFIG)
    free(46_080)
    build_store(manifest, tmp_path / "s", CONFIG)
    free(0)
    build_store(manifest, tmp_path / "s", CONFIG)
    free(46_080 + 2 * 10_240 - 1)
    with pytest.raises(StoreError, match="MB are free"):
        build_store(more, tmp_path / "s", CONFIG)
    free(46_080 + 2 * 10_240)
    assert len(build_store(more, tmp_path / "s", CONFIG)[0]) == 4
    assert calls == ["a.avi", "b.avi", "c.dcm", "d.avi"]


def test_what_is_asked_of_the_disk_is_what_is_taken(
    manifest: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured when the store is whole and the parts are still there; headers take 4 % here."""
    manifest = manifest[:3].assign(n_frames=pd.array([20, 12, 10], "Int32"))
    taken: list[int] = []

    def measured(folder: Path, *, parts: bool) -> None:
        taken.append(sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()))
        tidy(folder, parts=parts)

    monkeypatch.setattr(store_install, "tidy", measured)
    build_store(manifest, tmp_path / "s", CONFIG)
    index = next((tmp_path / "s").rglob("index.parquet")).stat().st_size
    assert 2 * 46_080 <= taken[0] - index <= 1.04 * 2 * 46_080


def test_a_disk_that_fails_is_one_sentence(manifest: pd.DataFrame, tmp_path: Path) -> None:
    """The system refuses to let any file grow beyond 16 kB: a part of 20 frames takes 21 kB."""
    _, hard = old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, hard))
    try:
        with pytest.raises(StoreError, match=r"cannot be written \(File too large\)"):
            build_store(manifest, tmp_path / "s", CONFIG)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert len(build_store(manifest, tmp_path / "s", CONFIG)[0]) == 3


def test_one_builder_at_a_time(manifest: pd.DataFrame, tmp_path: Path) -> None:
    with sole_builder(tmp_path / "s"), pytest.raises(StoreError, match="another process is"):
        build_store(manifest, tmp_path / "s", CONFIG)
    assert len(build_store(manifest, tmp_path / "s", CONFIG)[0]) == 3


def test_a_part_cut_by_a_power_failure_is_decoded_again(
    manifest: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full length, but the last kilobyte never reached the disk; and one of no length at all."""
    manifest = manifest[:3]  # those that are whole
    whole = build_store(manifest, tmp_path / "whole", CONFIG)[0].digest()
    _kill_build(manifest, tmp_path / "s", monkeypatch)
    parts = (tmp_path / "s" / "parts").iterdir()
    first, second, *_ = sorted(parts, key=lambda part: -part.stat().st_size)
    first.write_bytes(first.read_bytes()[:-1024] + bytes(1024))
    second.write_bytes(b"")
    calls = _count_decodes(monkeypatch)
    assert build_store(manifest, tmp_path / "s", CONFIG)[0].digest() == whole
    assert len(calls) == 2


@pytest.mark.parametrize("name", ["meta.json", "frames.npy", "index.parquet", "sectors.npy"])
def test_damaged_store_is_named_and_rebuilt(
    manifest: pd.DataFrame, tmp_path: Path, name: str
) -> None:
    digest = build_store(manifest, tmp_path / "s", CONFIG)[0].digest()
    (file,) = (tmp_path / "s").rglob(name)
    file.write_bytes(file.read_bytes()[:-100][:200])
    with pytest.raises(StoreError, match="damaged"):
        ClipStore([tmp_path / "s"])
    assert build_store(manifest, tmp_path / "s", CONFIG)[0].digest() == digest


def test_nothing_usable_is_an_empty_store(manifest: pd.DataFrame, tmp_path: Path) -> None:
    store, findings = build_store(manifest[manifest["clip_id"] == "junk"], tmp_path / "s", CONFIG)
    assert len(store) == 0
    assert [item.severity for item in findings.items] == ["quarantined"]


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


def _count_decodes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []
    real = store_parts.decode_clip

    def counted(path: str, dataset: str, side: int | None = None) -> object:
        calls.append(Path(path).name)
        return real(path, dataset, side)

    monkeypatch.setattr(store_parts, "decode_clip", counted)
    return calls


def _kill_build(manifest: pd.DataFrame, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin a build that is killed when every clip is decoded."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(store_build, "install", killed)
        build_store(manifest, folder, CONFIG)


def test_what_was_mended_is_found_again_whoever_decodes(tmp_path: Path) -> None:
    """A cut video whose header says more, a cine with a damaged frame, and one of uneven times.

    A second build decodes nothing, and says the same.
    """
    cut = write_avi(tmp_path / "cut.avi", speckle(30))
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 2 // 3])
    frames = speckle(12)
    damaged = write_jpeg_cine(tmp_path / "damaged.dcm", frames)
    data = damaged.read_bytes()
    place = data.index(b"\xff\xd8\xff", data.index(b"\xff\xd8\xff") + 9)
    damaged.write_bytes(data[:place] + bytes(500) + data[place + 500 :])
    steps = [1 / 60, 1 / 20] * 10
    uneven = write_uneven_mp4(tmp_path / "uneven.mp4", speckle(20), steps)
    rows = manifest_from_rows(map(row_of, (cut, damaged, uneven)))
    first, found = build_store(rows, tmp_path / "a", CONFIG, workers=1)
    again, same = build_store(rows, tmp_path / "a", CONFIG)
    other, _ = build_store(rows, tmp_path / "b", CONFIG)
    table = found.table().set_index("item")
    assert table["kind"].to_dict() == {"cut": "truncated_clip", "damaged": "damaged_frames"}
    assert set(table["severity"]) == {"repaired"}
    assert "its own header says 30" in table.loc["cut", "reason"]
    assert same.items == found.items
    assert first.digest() == again.digest() == other.digest()
    assert first.length("damaged") == 12
    assert first.times("cut") is None
    times = first.times("uneven")
    assert times is not None
    np.testing.assert_allclose(times, np.cumsum([0, *steps[:-1]]), atol=1e-3)
    (window,) = ClipWindows(
        first, rows[2:], CONFIG.model_copy(update={"window_seconds": 0})
    ).test_windows(0)
    np.testing.assert_allclose(window.times, times[[0, 6, 13, 19]], atol=1e-5)


def test_a_manifest_that_knows_the_rate_of_recording_scales_uneven_times(tmp_path: Path) -> None:
    """Played at a third of the recording's pace: every time is a third of what is written."""
    steps = [1 / 60, 1 / 20] * 10
    file = write_uneven_mp4(tmp_path / "a.mp4", speckle(20), steps)
    row = row_of(file, fps=3 * 19 / sum(steps[:-1]))
    store, _ = build_store(manifest_from_rows([row]), tmp_path / "s", CONFIG)
    np.testing.assert_allclose(store.times("a"), np.cumsum([0, *steps[:-1]]) / 3, atol=1e-3)


def test_colour_flow_is_not_stored(tmp_path: Path) -> None:
    file = write_coloured(tmp_path / "a.avi", with_jet(speckle(20, 96, 128)), "MJPG")
    store, findings = build_store(manifest_from_rows([row_of(file)]), tmp_path / "s", CONFIG)
    assert len(store) == 0
    assert [item.kind for item in findings.items] == ["colour_doppler"]
