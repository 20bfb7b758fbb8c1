"""How a pool's processes begin: as forks of one that has loaded what they need, and does no more.

``multiprocessing`` has one such process, the fork server, for all pools of this process. It loads
modules as it starts, which is when a pool first needs a process; a module that is named later, each
fork loads for itself. A fork has this process's folder, ``sys.path`` and environment, as they are
when it begins; but blocked signals, limits, and what a library read from the environment while it
was loaded (OpenMP its number of threads) are those of the server's start. Where the system knows no
forks, each process begins anew.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping
from multiprocessing import resource_tracker
from multiprocessing.context import BaseContext

_loaded: dict[str, None] = {}  # in order, each once


def load_before_forks(*modules: str) -> None:
    """Name modules that the server is to load, beside those named before, unless it has started.

    None may start a thread that it needs, nor use a GPU: neither is there in a fork.
    """
    _loaded.update(dict.fromkeys(modules))


def fork_context() -> BaseContext:
    """What makes processes, which begin with what has been named so far."""
    # Its start lets signals through that a thread has blocked: it is not to start in such a one.
    resource_tracker.ensure_running()
    if "forkserver" not in multiprocessing.get_all_start_methods():  # Windows
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_loaded))
    return context


def take_environment(environment: Mapping[str, str]) -> None:
    """Have the environment of the process that this one was forked for."""
    os.environ.clear()
    os.environ.update(environment)
