"""A command that is stopped as a user stops it, and a look at what is left of it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.support.commands import ECHOFM
from tests.support.forks import MARK, Forks

#: What every command promises: seconds from the signal until nothing is left.
PROMISE = 5.0
#: Seconds in which a command must have come to the moment at which it is stopped.
PATIENCE = 180.0


def quietly(reached: Callable[[], object]) -> object:
    """What a look says; nothing where a folder of an unfinished file vanished under it."""
    with suppress(FileNotFoundError):
        return reached()
    return None


class Marked:
    """A running ``echofm`` command; all that it starts inherits a mark in its environment."""

    def __init__(self, forks: Forks, folder: Path, *words: object, code: str = ECHOFM) -> None:
        self.mark = uuid.uuid4().hex
        self.log = folder / f"{self.mark}.log"
        self.log.touch()
        env = {**os.environ, MARK: self.mark, "OMP_NUM_THREADS": "1"}
        self.process = forks.start(code, *words, cwd=folder, out=self.log, env=env)

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, reached: Callable[[], object]) -> None:
        """Until the command has come to a moment."""
        deadline = time.monotonic() + PATIENCE
        while not quietly(reached):
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.02)

    def others(self) -> list[psutil.Process]:
        """Marked processes, the command itself left out."""
        return [item for item in marked(self.mark) if item.pid != self.process.pid]

    def stop(self, number: signal.Signals, *, group: bool) -> str:
        """Send a signal, hold the command to its promise, and return what it said after it."""
        said = len(self.output())
        started = time.monotonic()
        if group:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        try:
            code = self.process.wait(PROMISE)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still there after {PROMISE} s:\n{self.output()[-3000:]}")
        while (left := marked(self.mark)) and time.monotonic() - started < PROMISE:
            time.sleep(0.05)
        assert not left, [item.cmdline() for item in left]
        assert code == 128 + number, self.output()[-3000:]
        return self.output()[said:]

    def clean_up(self) -> None:
        """End what a failed test has left."""
        for item in marked(self.mark):
            with suppress(psutil.NoSuchProcess):  # ended since
                item.kill()


def marked(mark: str) -> list[psutil.Process]:
    """Running processes with a mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found
