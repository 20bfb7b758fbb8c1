"""An unfinished round on the site's disk, so that a killed one goes on where it was saved."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echofm_core.contract import Phase, Weights
from echofm_core.models import weights
from echofm_core.runtime.checksum import checksum
from echofm_core.runtime.errors import CheckpointError

#: Raised whenever what a file holds changes its meaning.
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Saved:
    """State after a step.

    Attributes:
        arrays: Weights, moments and averages by name.
        numbers: Everything else, as JSON knows it.
    """

    arrays: Weights
    numbers: dict[str, Any]


class RoundProgress:
    """One safetensors file a phase, with JSON in its header; it never leaves the site.

    A round takes a file up only if everything that decides its result is what it was then: else
    the file is of another round, or the server sent other weights, and the round starts from its
    beginning. So does one whose file is damaged; that costs time and changes no bit.

    Args:
        folder: The site's state folder of this run.
        phase: Training phase.
        fingerprint: Of the round, before its first step.
    """

    def __init__(self, folder: Path, phase: Phase, fingerprint: str) -> None:
        self.path = folder / "progress" / f"{phase}.safetensors"
        self.key = f"{FORMAT}:{fingerprint}"

    def save(self, saved: Saved) -> None:
        """Write the file whole, in place of the one before."""
        header = {
            "round": self.key,
            "numbers": json.dumps(saved.numbers),
            "checksum": str(checksum(saved.arrays)),
        }
        weights.save(saved.arrays, self.path, header)

    def load(self) -> Saved | None:
        """The state to go on from, if there is one of this very round."""
        try:
            header = weights.load_metadata(self.path)
            if header.get("round") != self.key:
                return None
            saved = Saved(weights.load(self.path), json.loads(header["numbers"]))
            whole = header["checksum"] == str(checksum(saved.arrays))
        except (CheckpointError, KeyError, ValueError):
            return None
        return saved if whole else None

    def clear(self) -> None:
        """The round is finished."""
        self.path.unlink(missing_ok=True)
