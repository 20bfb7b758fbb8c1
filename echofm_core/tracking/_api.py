"""What a tracker is shown, and what it must be able to do."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from echofm_core.contract import Phase

#: Names that both trackers take. A name with anything else in it is left out: some come from
#: sites, and a tracker may be a server of somebody else.
PLAIN = re.compile(r"[a-z][a-z0-9_]*(/[a-z][a-z0-9_]*)*")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackedRound:
    """A finished round as a tracker sees it: numbers by name, and nothing else.

    Attributes:
        phase, round: Which; rounds count from 1 in each phase.
        metrics: Name -> value, e.g. ``loss/ef``.
    """

    phase: Phase
    round: int
    metrics: Mapping[str, float]

    def series(self) -> dict[str, float]:
        """``PHASE/NAME`` -> value, of the finite ones with plain names, in the order of names."""
        return {
            f"{self.phase.value}/{name}": float(value)
            for name, value in sorted(self.metrics.items())
            if PLAIN.fullmatch(name) and math.isfinite(value)
        }


class Tracker(Protocol):
    """One store of curves, open for one run. Any exception of it means: it does not work now."""

    def add(self, round_: TrackedRound) -> None:
        """Keep what of this round is not there yet; it is safe on return."""

    def close(self, *, finished: bool) -> None:
        """No more rounds come in this process.

        Args:
            finished: The run came to its end; else it was interrupted or failed.
        """
