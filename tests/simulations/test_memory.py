from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulations import memory
from simulations.memory import SharedFolder, sweep

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_base", lambda: tmp_path)


def _age(folder: Path) -> None:
    os.utime(folder, (time.time() - 3600,) * 2)


def test_a_folder_in_use_is_never_swept(tmp_path: Path) -> None:
    folder = SharedFolder()
    _age(folder.path)
    sweep(tmp_path)
    assert folder.path.exists()
    folder.remove()
    assert not folder.path.exists()


def test_the_folder_of_a_killed_owner_is_swept_once_it_is_old(tmp_path: Path) -> None:
    """A process of its own, gone without a goodbye: its lock goes with it, the folder stays."""
    code = (
        "import os, pathlib\n"
        "from simulations import memory\n"
        f"memory._base = lambda: pathlib.Path({str(tmp_path)!r})\n"
        "print(memory.SharedFolder().path, flush=True); os._exit(9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=ROOT, capture_output=True, text=True
    )
    left = Path(done.stdout.strip())
    assert left.parent == tmp_path
    sweep(tmp_path)
    assert left.exists(), "too young"
    _age(left)
    sweep(tmp_path)
    assert not left.exists()


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "echofm-notes"
    other.mkdir()
    _age(other)
    sweep(tmp_path)
    assert other.exists()
