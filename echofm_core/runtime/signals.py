"""Ctrl-C, SIGTERM and a closed terminal end a command: gently, and if that takes long, for certain.

The first such signal raises :class:`Stopped` in the main thread, so that everything is left as an
error leaves it. A thread watches: a command that is still there after :data:`GRACE` seconds, in a
library's long call for instance, is ended with all its children.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import NoReturn

from echofm_core.runtime.child_process import kill_descendants

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


_stopping = threading.Event()


def stopping() -> bool:
    """Has this process been asked to stop? What fails from then on may fail for that reason."""
    return _stopping.is_set()


def install_handlers(last_words: Callable[[int], None]) -> None:
    """From now on a signal that stops raises :class:`Stopped`, once; main thread only.

    Where a command then does not end by itself, ``last_words`` is called with the signal's number.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    # Written to by the system's own handler: also while Python's cannot run.
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader, last_words), daemon=True).start()
    raised = False

    def stop(number: int, frame: object) -> None:
        nonlocal raised
        _stopping.set()
        if not raised:
            raised = True
            raise Stopped(number)

    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
            signal.signal(number, stop)


@contextmanager
def blocked_signals() -> Iterator[None]:
    """What this thread starts meanwhile does not get the signals that stop a command.

    A terminal signals the whole group, and its first process ends the others. If they ended by
    themselves, a site's work that was cut off would look like a site that failed.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def thread_pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads; what has not begun is dropped when the block ends by an error.

    On :class:`Stopped` nobody waits for what has begun either: the process ends (:func:`leave`).
    """
    pool = ThreadPoolExecutor(max_workers=workers)
    try:
        yield pool
    except BaseException as error:
        pool.shutdown(wait=not isinstance(error, Stopped), cancel_futures=True)
        raise
    pool.shutdown()


def leave(code: int) -> NoReturn:
    """End the process now: a thread that still works is cut off, as a power cut would."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    working = (thread for thread in threading.enumerate() if not thread.daemon)
    if any(thread is not threading.main_thread() for thread in working):
        kill_descendants()
        os._exit(code)
    sys.exit(code)


def _watch(reader: int, last_words: Callable[[int], None]) -> None:
    while True:
        number = os.read(reader, 1)[0]
        if number in SIGNALS and signal.getsignal(number) is not signal.SIG_IGN:
            _stopping.set()
            time.sleep(GRACE)
            last_words(number)
            kill_descendants()
            os._exit(128 + number)
