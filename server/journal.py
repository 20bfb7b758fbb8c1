"""What a run has done so far, on disk: one JSON a round, one checkpoint a round.

Symptom: a run that dies at round 180 begins again, or goes on from half a checkpoint. Reason: a
kill can come between any two writes. Protocol: the rule's state, a file a part, and the checkpoint
are written first, each by rename and fsync, and the entry last, with the digest of each; so an
entry speaks only of arrays that are there. A run goes on from the last entry whose files have these
digests; anything newer is as if it had not happened. What can still go wrong: both kept checkpoints
of a phase are damaged, and the phase begins again; a validation loss is added to an entry one round
late, and a kill in between loses that number alone.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from echofm_core.contract import Phase, SiteDescription, Weights
from echofm_core.runtime import array_files as files
from echofm_core.runtime.checksum import digest
from echofm_core.runtime.errors import CheckpointError, EngineError, ResumeError
from echofm_core.runtime.files import remove, write_whole
from echofm_core.runtime.installed_code import software
from echofm_core.runtime.signals import stopping
from echofm_core.runtime.text import many

#: Checkpoints of a phase that are kept: the last, and one to fall back on.
KEPT = 2
#: Metric of a site's part in a round: L2 norm of its update's change.
UPDATE_NORM = "update_norm"
#: The same: L2 norm of what its update holds beside the weights, the change of a control variate.
CONTROL_NORM = "control_norm"
#: Metrics of a site's part in a round: bytes of the arrays that it was sent, and that it sent.
BYTES_DOWN, BYTES_UP = "bytes_down", "bytes_up"
#: File of a run folder: what the sites of each session have said of themselves.
DESCRIPTIONS = "descriptions.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteEntry:
    """One site's part in a round.

    Attributes:
        counts: Parameter group -> training clips.
        metrics: What the site reported, and what the server measured: :data:`UPDATE_NORM`,
            :data:`CONTROL_NORM`, :data:`BYTES_DOWN`, :data:`BYTES_UP`.
        bytes: Of all arrays of its update, as they came; 0 where an earlier version did not count.
        audit_head, ledger_head, policy_hash, approval_hash: As of
            :class:`~echofm_core.contract.Attested`; `echofm client audit --expect` looks for the
            first two.
    """

    counts: Mapping[str, int]
    metrics: Mapping[str, float]
    bytes: int = 0
    audit_head: str = ""
    ledger_head: str = ""
    policy_hash: str = ""
    approval_hash: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One finished round.

    Attributes:
        sites: Site -> its part, for the sites that counted.
        refused: Site -> why it did not count: refused, in error, late, or still busy.
        digest: Of the new global weights.
        seconds: Wall time of the round.
        validation: Site -> loss of the new global weights on its validation patients. Known from
            the round after on, when the sites have had them, or at the end of the phase.
        warnings: Site -> what it has hardly learnt; in the last round of a phase alone.
        state: Part of what the aggregation rule remembers -> digest; filled in by the journal.
    """

    phase: Phase
    round: int
    plan_hash: str
    sites: Mapping[str, SiteEntry]
    refused: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""
    seconds: float = 0.0
    warnings: Mapping[str, str] = field(default_factory=dict)
    state: Mapping[str, str] = field(default_factory=dict)
    validation: Mapping[str, float] = field(default_factory=dict)


class Journal:
    """The journal and checkpoints of one run folder."""

    def __init__(self, folder: Path, plan_hash: str) -> None:
        self._folder, self._entries = folder, folder / "journal"
        self._checkpoints = folder / "checkpoints"
        self._plan_hash = plan_hash

    def open(self, *, resume: bool) -> None:
        """Take the folder, new or for going on.

        Raises:
            ResumeError: It holds rounds and ``resume`` is false, or rounds of another plan.
        """
        self._entries.mkdir(parents=True, exist_ok=True)
        self._checkpoints.mkdir(parents=True, exist_ok=True)
        found = sorted(path for path in self._entries.glob("*.json") if path.name[0] != ".")
        if found and not resume:
            raise ResumeError(
                f"{self._entries} already holds {many(len(found), 'round')}; go on with --resume, "
                "or choose another run folder."
            )
        for path in found:
            entry = self._read(path)
            if entry is not None and entry.plan_hash != self._plan_hash:
                raise ResumeError(
                    f"{path} is of a plan with hash {entry.plan_hash[:12]}, this plan has "
                    f"{self._plan_hash[:12]}; resume with the plan.toml in that folder, or choose "
                    "another run folder."
                )
        for folder in (self._entries, self._checkpoints):
            for torn in folder.glob(".*"):
                remove(torn)  # a write that a kill cut short

    def record(
        self,
        entry: Entry,
        weights: Weights,
        state: Iterable[tuple[str, Weights]] = (),
        *,
        best: int = 0,
    ) -> None:
        """Write state and checkpoint, then the entry; each is there whole or not at all.

        Args:
            entry: Of a finished round.
            weights: The new global ones.
            state: What the aggregation rule remembers, part by part; one is in memory at a time.
            best: Round of the phase whose checkpoint is kept beside the newest ones; 0: none.

        Raises:
            EngineError: The command is being stopped, which may have cut off a site of this round.
        """
        if stopping():
            raise EngineError("stopped in the middle of a round; --resume trains it again.")
        parts = {}
        for part, arrays in state:
            parts[part] = digest(arrays)
            files.save(arrays, self._checkpoint(entry.phase, entry.round, f".{part}"), {})
            del arrays  # or it would stay while the next part is made
        metadata = {"plan_hash": self._plan_hash, "digest": entry.digest}
        files.save(weights, self._checkpoint(entry.phase, entry.round), metadata)
        self._write(replace(entry, state=parts))
        for path in self._checkpoints.glob(f"{entry.phase.value}-*.safetensors"):
            kept = entry.round - KEPT < _number(path) or path == self._checkpoint(entry.phase, best)
            if not kept:
                path.unlink()

    def validated(self, phase: Phase, number: int, losses: Mapping[str, float]) -> None:
        """Add to a round's entry what the sites have found on their validation patients."""
        if entry := self._read(self._entry(phase, number)):
            self._write(replace(entry, validation=dict(losses)))

    def weights(self, phase: Phase, number: int) -> Weights:
        """Global weights after a round whose checkpoint is kept.

        Raises:
            CheckpointError: They are missing, damaged, or not those of the round's entry.
        """
        entry, path = self._read(self._entry(phase, number)), self._checkpoint(phase, number)
        weights = files.load(path)
        if entry is None or digest(weights) != entry.digest:
            raise CheckpointError(
                f"{path} does not hold the weights of round {number} of {phase.value}; train "
                "again in another run folder."
            )
        return weights

    def last(self, phase: Phase, rounds: int) -> tuple[int, Weights]:
        """The newest of the first ``rounds`` of a phase that can be continued, and its weights.

        Returns:
            (0, {}) where there is none.
        """
        for number in range(rounds, 0, -1):
            if (entry := self._read(self._entry(phase, number))) is None:
                continue
            with suppress(CheckpointError):
                parts = {part: digest(arrays) for part, arrays in self._parts(entry)}
                weights = files.load(self._checkpoint(phase, number))
                if parts == entry.state and digest(weights) == entry.digest:
                    return number, weights
        return 0, {}

    def state(self, phase: Phase, number: int) -> Iterator[tuple[str, Weights]]:
        """What the aggregation rule remembered after a round that :meth:`last` gave, by part.

        Raises:
            CheckpointError: A file is damaged, or gone.
        """
        entry = self._read(self._entry(phase, number))
        return self._parts(entry) if entry else iter(())

    def forget_after(self, phase: Phase, number: int) -> None:
        """Drop entries of a phase that come after a round: they will be written again."""
        for path in self._entries.glob(f"{phase.value}-*.json"):
            if _number(path) > number:
                path.unlink()

    def describe(self, sites: Mapping[str, SiteDescription]) -> None:
        """Add what the sites of a session have said of themselves, with the time, in UTC."""
        when = datetime.now(UTC).isoformat(timespec="seconds")
        said = {site: asdict(about) for site, about in sites.items()}
        session = {"when": when, "server": software(), "sites": said}
        write_json(self._folder / DESCRIPTIONS, [*read_descriptions(self._folder), session])

    def entries(self) -> list[Entry]:
        """All readable entries, in the order of the run."""
        paths = [path for phase in Phase for path in sorted(self._entries.glob(f"{phase}-*.json"))]
        return [entry for path in paths if (entry := self._read(path)) is not None]

    def losses(self, phase: Phase, done: int, first: int = 1) -> dict[int, Mapping[str, float]]:
        """Round -> what sites found of its result, of rounds ``first`` to ``done`` of a phase."""
        return {
            entry.round: entry.validation
            for entry in self.entries()
            if entry.phase is phase and first <= entry.round <= done and entry.validation
        }

    def _write(self, entry: Entry) -> None:
        """Write an entry; JSON knows no NaN: a loss that is not finite is null."""
        finite = {site: x if math.isfinite(x) else None for site, x in entry.validation.items()}
        write_json(self._entry(entry.phase, entry.round), {**asdict(entry), "validation": finite})

    def _entry(self, phase: Phase, number: int) -> Path:
        return self._entries / f"{phase.value}-{number:04d}.json"

    def _checkpoint(self, phase: Phase, number: int, part: str = "") -> Path:
        return self._checkpoints / f"{phase.value}-{number:04d}{part}.safetensors"

    def _parts(self, entry: Entry) -> Iterator[tuple[str, Weights]]:
        for part in entry.state:
            yield part, files.load(self._checkpoint(entry.phase, entry.round, f".{part}"))

    def _read(self, path: Path) -> Entry | None:
        """An entry, or None where the file is missing, torn or not an entry."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            sites = {name: SiteEntry(**part) for name, part in values.pop("sites").items()}
            losses = {
                site: math.nan if loss is None else float(loss)
                for site, loss in values.pop("validation", {}).items()
            }
            phase = Phase(values.pop("phase"))
            return Entry(**values, phase=phase, sites=sites, validation=losses)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None


def read_descriptions(folder: Path) -> list[dict[str, Any]]:
    """What sites have said of themselves, a session of the run folder each; a damaged file: none.

    Each has ``when``, ``server`` (what was installed there) and, in ``sites``, name -> fields of a
    description.
    """
    try:
        return list(json.loads((folder / DESCRIPTIONS).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return []


def write_json(path: Path, values: object) -> None:
    """Write JSON whole or not at all, and have it on the disk before returning."""
    write_whole(path, json.dumps(values, indent=1).encode())


def _number(path: Path) -> int:
    """Round number in the name of an entry or checkpoint; 0 where there is none."""
    text = path.name.partition(".")[0].rpartition("-")[2]
    return int(text) if text.isdigit() else 0
