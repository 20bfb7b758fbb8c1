"""What the launcher would change in the process that starts it, kept as it was."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from torch.distributed.launcher.api import LaunchConfig

#: What the launcher ends its processes on.
SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")


def heard_signals() -> dict[str, Any]:
    """Leave ignored signals ignored (nohup), where this torch can be told so."""
    if "signals_to_handle" not in {field.name for field in fields(LaunchConfig)}:
        return {}
    heard = [name for name in SIGNALS if _handler(name) is not signal.SIG_IGN]
    return {"signals_to_handle": ",".join(heard)}


@contextmanager
def own_signals() -> Iterator[None]:
    """Give signal handlers back, which the launcher takes and keeps."""
    if threading.current_thread() is not threading.main_thread():
        yield  # there it takes none
        return
    before = {name: _handler(name) for name in SIGNALS}
    try:
        yield
    finally:
        for name, handler in before.items():
            if handler is not None:
                signal.signal(getattr(signal, name), handler)


def _handler(name: str) -> signal._HANDLER:
    return signal.getsignal(getattr(signal, name))


@contextmanager
def without_store_server() -> Iterator[None]:
    """Keep the launcher from serving a store for its processes, on all interfaces."""
    name = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the launcher's own messages back: the error says what they say."""
    log = logging.getLogger("torch.distributed.elastic")
    nothing, before = logging.NullHandler(), log.propagate
    log.addHandler(nothing)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(nothing)
        log.propagate = before
