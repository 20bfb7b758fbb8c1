"""Runs a program and ends it, with all that it started, as soon as nobody wants it any more.

``python -m echofm_core.runtime.keeper COMMAND ...``, started by :mod:`echofm_core.runtime.kept`.
Whoever starts it holds its standard input open. That closes with its owner, however the owner
ends, and the program ends too; so it does on SIGTERM and SIGINT.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

from echofm_core.runtime.family import descendants, end_descendants

#: Seconds that the program and its children have to end by themselves.
GRACE = 2.0
_ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def main(command: list[str]) -> int:
    """Keep the program until it ends or is to end; returns its exit code."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (*_ENDS, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)  # heard through the pipe
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)  # orphans below come to us
    program = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        preexec_fn=_end_with_keeper,  # noqa: PLW1509 - there is one thread
    )
    wanted = True
    while wanted and program.poll() is None:
        ready, _, _ = select.select([0, reader], [], [])
        wanted = 0 not in ready and not set(_ENDS) & set(os.read(reader, 64))
    _end(signal.SIGTERM)
    code = program.wait()
    return code if code >= 0 else 128 - code


def _end(number: signal.Signals) -> None:
    """Ask all processes below to end, and see to it."""
    deadline = time.monotonic() + GRACE
    for child in descendants():
        with suppress(ProcessLookupError):
            os.kill(child, number)
    while descendants() and time.monotonic() < deadline:
        time.sleep(0.02)
    end_descendants()


def _end_with_keeper() -> None:
    """Runs in the program's process: not even a killed keeper leaves it behind."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    """Where there is such a thing: Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
