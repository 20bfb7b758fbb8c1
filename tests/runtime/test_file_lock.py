"""One process at a time, by real processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from echofm_core.runtime.errors import ResumeError
from echofm_core.runtime.file_lock import file_lock, is_locked, role_lock

HOLDER = """
import sys, time
from pathlib import Path
from echofm_core.runtime.file_lock import role_lock
with role_lock(Path(sys.argv[1]), "run"):
    print("held", flush=True)
    time.sleep(99)
"""


def test_the_second_process_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    """SIGKILL leaves nothing that has to be cleared away by hand."""
    first = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    with pytest.raises(ResumeError, match="another process works on"), role_lock(tmp_path, "run"):
        pytest.fail("two hold it")
    with role_lock(tmp_path, "another role"):
        pass
    first.kill()
    first.wait()
    with role_lock(tmp_path, "run"):
        pass
    assert not list(tmp_path.iterdir())


def test_two_in_one_process_are_two(tmp_path: Path) -> None:
    with file_lock(tmp_path / "file") as first, file_lock(tmp_path / "file") as second:
        assert first is not None and second is None
        assert is_locked(tmp_path / "file")
    assert not is_locked(tmp_path / "file")
    assert not is_locked(tmp_path / "none")
