"""CPU seconds of the parts of a simulated round, each without the parts inside it.

The functions of the product are wrapped where they are called from; nothing else of the run
changes. A clock is read twice a call, a few thousand times in all.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from typing import Any, Self
from unittest.mock import patch

#: Checks and records that a plain loop does without -> where they are called, ``module:name``.
CHECKS = {
    "checksum at the site": ("client.wire:checksum",),
    "identity, names, shapes, types, counts": ("server.intake:admit",),
    "checksum at the server": ("server.admission:check_values",),
    "norm of the change, finiteness": ("server.admission:distance",),
    "norm against other sites, waiting on disk": (
        "server.intake:Intake.take",
        "server.intake:Intake.finish",
        "server.replies:Replies.set_aside",
    ),
    "SHA-256 of the model": ("server.phase:digest",),
}
#: What stands between sites and server, and their work.
WORK = {
    "a site's copy into its message": ("benchmarks.peers.ours:to_reply",),
    "the server's copy into messages": ("server.phase:wired",),
    "weighted sum of changes": (
        "server.aggregation._api:WeightedMean.add",
        "server.aggregation._api:WeightedMean.finish",
    ),
    "training": ("benchmarks.peers.ours:train",),
    "the weights to begin with": ("benchmarks.peers.ours:start",),
}
PARTS = {**CHECKS, **WORK}


class Clocks:
    """Wraps the functions of :data:`PARTS` while it is open.

    Attributes:
        seconds: Part -> CPU seconds of this process.
        called: What was called, of the names in :data:`PARTS`.
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.called: set[str] = set()
        self._inside: list[float] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for part, places in PARTS.items():
            for place in places:
                owner, name = _owner(place)
                clocked = self._clocked(part, place, getattr(owner, name))
                self._stack.enter_context(patch.object(owner, name, clocked))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _clocked(self, part: str, place: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self.called.add(place)
            self._inside.append(0.0)
            started = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                spent = time.process_time() - started
                self.seconds[part] += spent - self._inside.pop()
                if self._inside:
                    self._inside[-1] += spent

        return timed


def _owner(place: str) -> tuple[Any, str]:
    """The module or class that holds a name, and the name in it."""
    module, _, path = place.partition(":")
    owner: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for item in outer:
        owner = getattr(owner, item)
    return owner, name
