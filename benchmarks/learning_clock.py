"""What a piece of the learning benchmark cost, over all the processes that worked at it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from echofm_core.runtime.files import write_whole

#: In the folder of a piece.
COST = "cost.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Seconds of one piece: CPU of all threads and children, and wall, of others' work too."""

    cpu: float = 0.0
    wall: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(cpu=self.cpu + other.cpu, wall=self.wall + other.wall)


@contextmanager
def clock(place: Path) -> Iterator[Callable[[object], None]]:
    """Add what the block costs to what the folder cost before.

    Yields:
        To be called after each round, whatever with, so that a killed process counts too.
    """
    before, cpu, wall = cost_of(place), cpu_seconds(), time.monotonic()

    def note(_: object) -> None:
        here = Cost(cpu=cpu_seconds() - cpu, wall=time.monotonic() - wall)
        write_whole(place / COST, json.dumps(asdict(before + here)).encode())

    yield note
    note(None)


def cpu_seconds() -> float:
    """CPU of this process, and of its children that have ended."""
    return sum(os.times()[:4])


def cost_of(place: Path) -> Cost:
    """What a folder has cost so far."""
    file = place / COST
    return Cost(**json.loads(file.read_text(encoding="utf-8"))) if file.exists() else Cost()
