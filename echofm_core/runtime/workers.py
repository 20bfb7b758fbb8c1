"""What all our worker processes have in common: they end with the process that started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait

from echofm_core.runtime.signals import SIGNALS


@contextmanager
def blocked_signals() -> Iterator[None]:
    """What this thread starts meanwhile is deaf to what stops a command.

    A terminal and a supervisor signal the whole group; its first process ends the others. If they
    ended by themselves, a site's work that was cut off would look like a site that failed.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def become_worker(leave: Callable[[], None] = lambda: None) -> None:
    """Leave Ctrl-C to the parent, and end when the parent does, killed or not.

    Args:
        leave: Last act in that case.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(leave,), daemon=True).start()


def _end_with_parent(leave: Callable[[], None]) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        leave()
        os._exit(1)
