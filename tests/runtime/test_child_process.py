"""Other programs end with what they have started: when the block ends, and when we are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from echofm_core.runtime.child_process import child_process
from tests.runtime.marked import MARK, PROMISE, marked

#: A program with a child in a session of its own; both are deaf to polite requests.
FAMILY = """
import signal, subprocess, sys, time
for name in ("SIGTERM", "SIGINT"):
    signal.signal(getattr(signal, name), signal.SIG_IGN)
if len(sys.argv) == 1:
    subprocess.Popen([sys.executable, __file__, "child"], start_new_session=True)
open(f"{__file__}.{len(sys.argv)}", "w").close()
time.sleep(99)
"""

OWNER = """
import os, sys, time
from echofm_core.runtime.child_process import start
start([sys.executable, sys.argv[1]], os.environ)
time.sleep(99)
"""


@pytest.fixture
def family(tmp_path: Path) -> Path:
    script = tmp_path / "family.py"
    script.write_text(FAMILY)
    return script


def running(script: Path) -> None:
    deadline = time.monotonic() + 30
    while not all(Path(f"{script}.{number}").exists() for number in (1, 2)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def gone(mark: str) -> list[psutil.Process]:
    """What is left after the promised time."""
    deadline = time.monotonic() + PROMISE
    while (left := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def arguments(process: psutil.Process) -> list[str]:
    """Of a process that may end at any moment; none where it has ended."""
    try:
        return process.cmdline()[1:]
    except psutil.NoSuchProcess:  # a zombie is one of them
        return []


def test_a_block_ends_the_whole_family(family: Path) -> None:
    env = {**os.environ, MARK: str(family)}
    with child_process([sys.executable, str(family)], env):
        running(family)
        assert len(marked(str(family))) == 3  # with the supervisor
    assert not marked(str(family))


@pytest.mark.parametrize("who", ["owner", "supervisor"])
def test_nobody_is_left_when_one_is_killed(family: Path, who: str) -> None:
    """SIGKILL, of who started the supervisor and of the supervisor itself."""
    env = {**os.environ, MARK: str(family)}
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(family)], env=env)
    running(family)
    if who == "owner":
        owner.kill()
        owner.wait()
        assert not gone(str(family))
        return
    (supervisor,) = psutil.Process(owner.pid).children()
    supervisor.kill()
    deadline = time.monotonic() + PROMISE
    while any(arguments(item) == [str(family)] for item in marked(str(family))):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # Its child, in a session of its own, is beyond reach then.
    owner.kill()
    owner.wait()
    for left in marked(str(family)):
        left.kill()


def test_the_exit_code_is_the_program_s(tmp_path: Path) -> None:
    for code, script in ((3, "raise SystemExit(3)"), (137, "import os; os.kill(os.getpid(), 9)")):
        with child_process([sys.executable, "-c", script], os.environ, tmp_path / "log") as process:
            assert process.wait(30) == code


def test_what_it_says_goes_to_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with child_process([sys.executable, "-c", "print('here')"], os.environ, log) as process:
        process.wait(30)
    assert log.read_text() == "here\n"
    assert signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL
