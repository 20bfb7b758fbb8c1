"""A run's time is the sum over its sessions, killed ones up to their last sign of life."""

import json
import time
from pathlib import Path

import pytest

from echofm_core.runtime.sessions import FILE, Sessions


def test_sessions_add_up(tmp_path: Path) -> None:
    """Two sessions of 40 and 2.5 s were written down; the third adds its own time."""
    (tmp_path / FILE).write_text(json.dumps({"seconds": [40.0, 2.5]}))
    sessions = Sessions(tmp_path)
    time.sleep(0.2)
    assert sessions.tick() >= 42.7
    kept = json.loads((tmp_path / FILE).read_text())["seconds"]
    assert kept[:2] == [40.0, 2.5] and len(kept) == 3 and kept[2] >= 0.2


def test_a_killed_session_counts_up_to_its_last_tick(tmp_path: Path) -> None:
    """The first is dropped without a word; the second sees what it wrote."""
    first = Sessions(tmp_path)
    time.sleep(0.2)
    before = first.tick()
    assert Sessions(tmp_path).tick() >= before
    assert len(json.loads((tmp_path / FILE).read_text())["seconds"]) == 2


def test_ticks_of_one_session_do_not_add_up(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    for _ in range(5):
        sessions.tick()
    assert len(json.loads((tmp_path / FILE).read_text())["seconds"]) == 1


@pytest.mark.parametrize("content", ["", "{", "[]", '{"seconds": ["x"]}', '{"other": []}'])
def test_a_damaged_file_counts_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    assert Sessions(tmp_path).tick() < 60
