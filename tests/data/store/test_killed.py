"""A build in a process of its own, killed for good at many moments, ends as if nothing had been."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import psutil
import pytest

from echofm_core.data.config import DataConfig
from echofm_core.data.findings import Findings
from echofm_core.data.manifest import manifest_from_rows, save_manifest
from echofm_core.data.store import parts as store_parts
from echofm_core.data.store.build import build_store
from echofm_core.data.store.clip_store import ClipStore
from tests.data.files import speckle, write_avi
from tests.support.commands import ECHOFM
from tests.support.forks import Fork, Forks

CLIPS, FRAMES, SIZE = 40, 60, 224
#: Seconds in which something must have happened.
PATIENCE = 60.0


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 40 videos, their manifest, and the store that an undisturbed build gives."""
    folder = tmp_path_factory.mktemp("source")
    for number in range(5):
        write_avi(folder / f"{number}.avi", speckle(FRAMES, 168, 224, seed=number), 50)
    for number in range(5, CLIPS):  # the same pictures in another file: one more byte at its end
        twin = (folder / f"{number % 5}.avi").read_bytes()
        (folder / f"{number}.avi").write_bytes(twin + bytes([number]))
    save_manifest(_manifest(folder), folder / "m.parquet")
    build_store(_manifest(folder), folder / "whole" / "d", DataConfig(size=SIZE))
    return folder


def _manifest(folder: Path) -> pd.DataFrame:
    return manifest_from_rows(
        {
            "dataset": "d",
            "patient_id": f"p{number}",
            "clip_id": f"c{number}",
            "path": str(folder / f"{number}.avi"),
        }
        for number in range(CLIPS)
    )


def _finished(store: Path) -> set[str]:
    return {part.name for part in (store / "parts").glob("*.part")}


def _installing(store: Path) -> bool:
    return any(store.glob(".data-*"))


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "early": lambda store: len(_finished(store)) >= 2,
    "middle": lambda store: len(_finished(store)) >= CLIPS // 2,
    "installing": _installing,
}


@pytest.mark.parametrize("moment", list(MOMENTS))
def test_killed_then_run_again(
    forks: Forks, source: Path, tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was decoded is not decoded again: the clips that the second run decodes are counted."""
    store = _killed(forks, source, tmp_path, MOMENTS[moment])
    decoded = len(_finished(store))
    if moment == "installing":
        assert decoded == CLIPS
        assert _installing(store)
    else:
        assert 2 <= decoded < CLIPS
    again = _count_decodes(monkeypatch)
    _, findings = build_store(_manifest(source), store, DataConfig(size=SIZE))
    assert len(again) == CLIPS - decoded
    assert not findings.items
    _check(source, store)


@pytest.mark.slow
def test_killed_again_and_again(forks: Forks, source: Path, tmp_path: Path) -> None:
    """One folder: killed early, in the middle, and while it is installed; then left in peace."""
    for moment in MOMENTS.values():
        store = _killed(forks, source, tmp_path, moment)
    assert _run(forks, source, tmp_path).wait(PATIENCE) == 0
    _check(source, store)


def test_killed_while_a_clip_is_added(forks: Forks, source: Path, tmp_path: Path) -> None:
    """The old store stays readable all the while."""
    out = tmp_path / "out"
    fewer = _manifest(source)[: CLIPS - 8].reset_index(drop=True)
    before, _ = build_store(fewer, out / "d", DataConfig(size=SIZE))
    digest = before.digest()
    store = _killed(forks, source, tmp_path, _installing)
    assert ClipStore([store]).digest() == digest
    assert len(_finished(store)) == 8
    assert _run(forks, source, tmp_path).wait(PATIENCE) == 0
    _check(source, store)


@pytest.mark.skipif(sys.platform != "linux", reason="finds the process in /proc")
@pytest.mark.parametrize("kills", [1, 2])
def test_a_decoder_that_the_system_kills(source: Path, tmp_path: Path, kills: int) -> None:
    """A worker hangs on a named pipe in place of a video, and is killed from outside.

    Killed once, the clip is tried again, now a sound file; killed twice, it is left out alone.
    """
    clips = _manifest(source)[:8].reset_index(drop=True)
    whole, _ = build_store(clips, tmp_path / "whole", DataConfig(size=32))
    stuck = tmp_path / "stuck.avi"
    os.mkfifo(stuck)
    clips.loc[3, "path"] = str(stuck)
    killer = threading.Thread(target=_kill_readers, args=(stuck, kills, source / "3.avi"))
    killer.start()
    store, findings = build_store(clips, tmp_path / "s", DataConfig(size=32), workers=2)
    killer.join()
    if kills == 1:
        assert store.digest() == whole.digest()
        assert findings == Findings()
        return
    assert [(item.kind, item.item) for item in findings.items] == [("decoder_died", "c3")]
    rest, _ = build_store(clips.drop(3).reset_index(drop=True), tmp_path / "r", DataConfig(size=32))
    assert store.digest() == rest.digest()


def _kill_readers(pipe: Path, kills: int, sound: Path) -> None:
    """Kill who reads the pipe, so many times; if once only, with a sound file put in its place."""
    for _ in range(kills):
        # Refused while nobody reads; held open, so that the reader goes on waiting for a byte.
        held = _wait_for(lambda: _opened(pipe), "a process that reads the pipe")
        reader = _wait_for(lambda: _reader_of(pipe), "the process that reads the pipe")
        if kills == 1:
            link = pipe.with_suffix(".link")
            link.symlink_to(sound)
            link.replace(pipe)
        os.kill(reader, signal.SIGKILL)
        os.close(held)
        _wait_for(partial(_gone, reader), "the end of a killed process")


def _gone(process: int) -> bool:
    return not psutil.pid_exists(process)


def _opened(pipe: Path) -> int:
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return 0


def _reader_of(pipe: Path) -> int:
    """The child process that has the pipe open; 0 where there is none."""
    for child in psutil.Process().children(recursive=True):
        for descriptor in Path(f"/proc/{child.pid}/fd").glob("*"):
            if os.path.realpath(descriptor) == str(pipe):
                return child.pid
    return 0


def _run(forks: Forks, source: Path, folder: Path) -> Fork:
    """`echofm data store` with two workers."""
    words = ["data", "store", source / "m.parquet", "--out", folder / "out"]
    options = ["--size", SIZE, "--workers", 2]
    (folder / "log").touch()
    return forks.start(ECHOFM, *words, *options, out=folder / "log")


def _killed(forks: Forks, source: Path, folder: Path, moment: Callable[[Path], bool]) -> Path:
    """Run the command, and kill it when the moment has come; its workers must end by themselves."""
    store = folder / "out" / "d"
    process = _run(forks, source, folder)
    _wait_for(lambda: moment(store) or process.poll() is not None, "the moment to kill")
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    assert process.wait(PATIENCE) == -signal.SIGKILL, (folder / "log").read_text()
    assert not psutil.wait_procs(workers, timeout=PATIENCE)[1]
    return store


def _wait_for(done: Callable[[], int], what: str) -> int:
    deadline = time.monotonic() + PATIENCE
    while not (result := done()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.001)
    return result


def _check(source: Path, store: Path) -> None:
    """The bits of an undisturbed build, and nothing but them."""
    assert ClipStore([store]).digest() == ClipStore([source / "whole" / "d"]).digest()
    names = sorted(item.name[:5] for item in store.iterdir())
    assert names == ["data-", "meta."]


def _count_decodes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []
    real = store_parts.decode_clip

    def counted(path: str, dataset: str, side: int | None = None) -> object:
        calls.append(path)
        return real(path, dataset, side)

    monkeypatch.setattr(store_parts, "decode_clip", counted)
    return calls
