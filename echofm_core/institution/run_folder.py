"""The run folder of one institution: plan, one journal entry a round, last and best weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from echofm_core.contract import Phase, Weights
from echofm_core.institution.data import SITE
from echofm_core.models import weights as files
from echofm_core.plan.document import Plan
from echofm_core.run_claim import claim
from echofm_core.runtime.errors import ResumeError
from echofm_core.runtime.files import write_whole

#: What the model is called in tables.
ALONE = "alone"


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundEntry:
    """One finished round.

    Attributes:
        round: From 1.
        counts: Parameter group -> training clips behind it.
        metrics: Numbers of the round; ``validation`` is the loss that early stopping looks at.
        digest: Of the weights after it.
        best: Round with the least validation loss so far; 0 without validation.
    """

    round: int
    counts: Mapping[str, int]
    metrics: Mapping[str, float]
    digest: str
    best: int = 0


_ENTRY = TypeAdapter(RoundEntry)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where a run keeps what it must not lose; entries and weights appear whole or not at all."""

    path: Path
    phase: Phase

    @classmethod
    def claim(cls, path: Path, phase: Phase, plan: Plan, start: str, resume: bool) -> RunFolder:
        """Make a folder ours, or go on with it.

        Args:
            path: Run folder.
            phase: Which of the two phases it is of.
            plan: Written there; on resuming it must be the same.
            start: Digest of the weights that it starts from; "" for drawn ones.
            resume: Go on where it stopped.

        Raises:
            ResumeError: It holds another run, or one and ``resume`` was not asked for.
        """
        claim(path, plan, resume=resume, begun={"phase": phase.value, "start": start})
        return cls(path, phase)

    @property
    def state(self) -> Path:
        """Optimizer moments."""
        return self.path / "state"

    def entries(self) -> list[RoundEntry]:
        """Finished rounds in order."""
        found = sorted((self.path / "journal").glob(f"{self.phase.value}-*.json"))
        return [_read(path) for path in found]

    def last(self) -> Weights:
        """Weights after the last round; empty where there is none."""
        path = self._weights("last")
        return files.load(path) if path.exists() else {}

    def best(self) -> Weights:
        """Weights of the round with the least validation loss, else of the last."""
        path = self._weights("best")
        return files.load(path) if path.exists() else self.last()

    def keep(self, entry: RoundEntry, weights: Weights) -> None:
        """Keep a finished round: best weights, last weights, then the entry that counts it.

        A run killed in between does the round again from the round before, so the weights that
        stand under ``last`` say in their header of which round they are.
        """
        header = {"round": str(entry.round)}
        if entry.best == entry.round:
            files.save(weights, self._weights("best"), header)
        files.save(weights, self._weights(f"round-{entry.round}"), header)
        journal = self.path / "journal" / f"{self.phase.value}-{entry.round:05d}.json"
        journal.parent.mkdir(exist_ok=True)
        write_whole(journal, json.dumps(asdict(entry), indent=1).encode())
        self._weights(f"round-{entry.round}").replace(self._weights("last"))
        write_whole(self.path / "metrics.parquet", self._metrics().to_parquet(index=False))

    def recover(self) -> None:
        """Finish what a kill between entry and rename left: the entry is what counts.

        Without one nothing counts: the weights of a run that was killed in its first round may be
        those of another plan.
        """
        done = len(self.entries())
        newest = self._weights(f"round-{done}")
        if newest.exists():
            newest.replace(self._weights("last"))
        strays = f"{self.phase.value}-{'round-*' if done else '*'}"
        for stray in (self.path / "checkpoints").glob(strays):
            stray.unlink()

    def _weights(self, name: str) -> Path:
        return self.path / "checkpoints" / f"{self.phase.value}-{name}.safetensors"

    def _metrics(self) -> pd.DataFrame:
        """The schema of a federation's ``metrics.parquet``."""
        rows = [
            (ALONE, self.phase.value, entry.round, SITE, metric, float(value))
            for entry in self.entries()
            for metric, value in entry.metrics.items()
        ]
        return pd.DataFrame(rows, columns=["arm", "phase", "round", "site", "metric", "value"])


def _read(path: Path) -> RoundEntry:
    try:
        return _ENTRY.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ResumeError(
            f"{path} cannot be read ({type(error).__name__}); choose another --out."
        ) from None
