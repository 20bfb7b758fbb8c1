"""Ctrl-C, SIGTERM and a closed terminal end a command: gently, and if that takes long, for certain.

The first such signal raises :class:`Stopped` in the main thread, so that everything is left as an
error leaves it. A thread watches: a command that is still there after :data:`GRACE` seconds, in a
library's long call for instance, is ended with all its children.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from echofm_core.runtime.family import end_descendants

#: What stops a command; SIGHUP comes when its terminal is closed.
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
#: Seconds that a command has to end by itself.
GRACE = 3.0


class Stopped(BaseException):
    """The user, or the system, wants the command to end.

    No ``Exception``: whatever makes a finding of an error must not make one of this.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_code(self) -> int:
        """128 and the signal's number, as shells have it."""
        return 128 + self.number


_asked = threading.Event()


def asked() -> bool:
    """Has this process been asked to stop? What fails from then on may fail for that reason."""
    return _asked.is_set()


def listen(goodbye: Callable[[int], None]) -> None:
    """From now on a signal that stops raises :class:`Stopped`, once; main thread only.

    Args:
        goodbye: Hears the signal's number before a command is ended that did not end by itself.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    # Written to by the system's own handler: also while Python's cannot run.
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader, goodbye), daemon=True).start()
    raised = False

    def stop(number: int, frame: object) -> None:
        nonlocal raised
        _asked.set()
        if not raised:
            raised = True
            raise Stopped(number)

    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
            signal.signal(number, stop)


def leave(code: int) -> NoReturn:
    """End the process now: a thread that still works is cut off, as a power cut would."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    working = (thread for thread in threading.enumerate() if not thread.daemon)
    if any(thread is not threading.main_thread() for thread in working):
        end_descendants()
        os._exit(code)
    sys.exit(code)


def _watch(reader: int, goodbye: Callable[[int], None]) -> None:
    while True:
        number = os.read(reader, 1)[0]
        if number in SIGNALS and signal.getsignal(number) is not signal.SIG_IGN:
            _asked.set()
            time.sleep(GRACE)
            goodbye(number)
            end_descendants()
            os._exit(128 + number)
