"""What a pool's processes have of the process that they work for, and of their parent."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from echofm_core.runtime.pool import Pool

ROOT = Path(__file__).parents[2]


def test_a_fork_has_folder_path_and_environment_of_the_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parent had started before."""
    monkeypatch.setenv("FORKS_GOES", "then")
    with closing(Pool[str, Any](_look, 1)) as pool:
        assert pool.submit("environment").result(120)["FORKS_GOES"] == "then"
    monkeypatch.delenv("FORKS_GOES")
    monkeypatch.setenv("FORKS_COMES", "now")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    with closing(Pool[str, Any](_look, 1)) as pool:
        environment = pool.submit("environment").result(120)
        assert environment["FORKS_COMES"] == "now" and "FORKS_GOES" not in environment
        assert pool.submit("path").result(120)[0] == str(tmp_path)
        assert pool.submit("folder").result(120) == tmp_path


def test_modules_named_before_the_first_fork_are_there_in_all_and_no_others() -> None:
    done = _python(
        """
        load_before_forks("colorsys")
        one, two = (Pool(_look, 1, preload=[name]) for name in ("wave", "this_is_not_there"))
        print(*one.submit("modules").result(120))
        load_before_forks("shelve")
        print(*two.submit("modules").result(120))
        """
    )
    assert done.stdout.splitlines() == ["colorsys wave"] * 2, done.stderr


def test_a_parent_that_dies_as_it_starts_is_said(tmp_path: Path) -> None:
    (tmp_path / "deadly.py").write_text("import os; os.kill(os.getpid(), 9)")
    done = _python(
        """
        print(type(Pool(_look, 1, preload=["deadly"]).submit("folder").exception(120)).__name__)
        """,
        tmp_path,
    )
    assert done.stdout.strip() == "WorkerStartError", done.stderr


def _python(code: str, *places: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, which has no fork yet, and ends with its pools open."""
    names = "from echofm_core.runtime.forks import load_before_forks\n"
    names += "from echofm_core.runtime.pool import Pool\n"
    names += "from tests.runtime.test_forks import _look\n"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, *places)))}
    command = [sys.executable, "-c", names + textwrap.dedent(code)]
    return subprocess.run(
        command, env=env, capture_output=True, text=True, check=False, timeout=200
    )


def _look() -> Callable[[str], object]:
    return _seen


def _seen(what: str) -> object:
    if what == "environment":
        return dict(os.environ)
    if what == "modules":
        return sorted({"colorsys", "wave", "shelve"} & set(sys.modules))
    return Path.cwd() if what == "folder" else sys.path
