"""What an arm of the learning benchmark cost, over all the processes that worked at it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from echofm_core.runtime.files import write_whole

#: In a run folder.
COST = "cost.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Seconds of one run: CPU of all threads, and wall, at which another process may have run."""

    cpu: float = 0.0
    wall: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(cpu=self.cpu + other.cpu, wall=self.wall + other.wall)


@contextmanager
def clock(place: Path) -> Iterator[Callable[[object], None]]:
    """Add what the block costs to what the run folder cost before.

    Yields:
        To be called after each round, whatever with, so that a killed process counts too.
    """
    before, cpu, wall = cost_of(place), time.process_time(), time.monotonic()

    def note(_: object) -> None:
        here = Cost(cpu=time.process_time() - cpu, wall=time.monotonic() - wall)
        write_whole(place / COST, json.dumps(asdict(before + here)).encode())

    yield note
    note(None)


def cost_of(place: Path) -> Cost:
    """What a run folder has cost so far."""
    file = place / COST
    return Cost(**json.loads(file.read_text(encoding="utf-8"))) if file.exists() else Cost()
