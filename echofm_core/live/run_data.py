"""What there is to read of a run while it goes on: record, journal, test scores, sign of life.

Symptom: a screen that ends with a traceback, or slows the run, because it read a file at the wrong
moment. Reason: files appear, are replaced and go while they are read, and may be damaged. Protocol:
only whole files are read, which the run replaces by a rename; each is parsed once for each of its
versions; one that cannot be read is skipped and named. Nothing is locked and nothing is written.
What can still go wrong: a clock that differs from the one of a file server, and a heartbeat that
looks older or younger than it is. Predictions, manifests and findings are never opened: no number
of one patient can come from here.
"""

import math
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from echofm_core.contract import Phase, Scored
from echofm_core.live.heartbeat import STALE, age
from echofm_core.live.record import LiveRecord
from echofm_core.live.states import RunState
from echofm_core.run_claim import LIVE, PLAN
from echofm_core.runtime.sessions import earlier_seconds

Parsed = TypeVar("Parsed")


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class SitePart(_Part):
    """A site's part in a round: clips by parameter group, and what it reported."""

    counts: dict[str, int]
    metrics: dict[str, float]

    @property
    def clips(self) -> int:
        """Training clips behind the update."""
        return max(self.counts.values(), default=0)


class Round(_Part):
    """A finished round, as the journal has it."""

    phase: Phase
    round: int
    plan_hash: str = ""
    sites: dict[str, SitePart]
    refused: dict[str, str] = {}
    seconds: float = 0.0
    validation: dict[str, float | None] = {}

    @property
    def loss(self) -> float:
        """Mean training loss over the sites that reported one, by clips; NaN without any."""
        parts = [part for part in self.sites.values() if "loss" in part.metrics]
        total = sum(part.clips for part in parts)
        summed = sum(part.clips * part.metrics["loss"] for part in parts)
        return summed / total if total else math.nan

    @property
    def validation_loss(self) -> float:
        """Mean over the sites that reported one, all alike; NaN without any."""
        losses = [math.nan if loss is None else loss for loss in self.validation.values()]
        return sum(losses) / len(losses) if losses else math.nan


class Tested(_Part):
    """A site's test of the final model: patients by task, value with its interval by metric."""

    site: str
    patients: dict[str, int]
    scores: dict[str, list[float | None]]


class Tests(_Part):
    """``evaluation.json``: results, and site -> why there is none."""

    sites: list[Tested] = []
    failed: dict[str, str] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class RunData:
    """A run folder at one moment.

    Attributes:
        folder: Its last name alone.
        name: The plan's; empty before there is one.
        plan: The resolved plan, as TOML has it.
        now: Seconds since the epoch.
        state: None where no run has begun here.
        why: What ended it.
        record: What the run says of itself; None of one that says nothing.
        seconds: Of all sessions, as far as they are written down.
        rounds: In the order of the run.
        tests: Of the final model.
        skipped: A sentence for each file that could not be read.
    """

    folder: str
    name: str
    plan: Mapping[str, Any]
    now: float
    state: RunState | None
    why: str
    record: LiveRecord | None
    seconds: float
    rounds: tuple[Round, ...]
    tests: Tests
    skipped: tuple[str, ...]


@dataclass(slots=True)
class RunReader:
    """Reads one run folder, as often as asked."""

    folder: Path
    _known: dict[Path, tuple[tuple[int, int, int], Any]] = field(default_factory=dict)
    _skipped: list[str] = field(default_factory=list)

    def read(self) -> RunData:
        """The folder as it is now."""
        self._skipped = []
        plan = self._file(PLAN, lambda text: tomllib.loads(text.decode())) or {}
        record = self._file(LIVE, LiveRecord.model_validate_json)
        rounds = tuple(self._rounds())
        state, why = self._state(record, begun=bool(rounds))
        return RunData(
            folder=self.folder.resolve().name,
            name=str(plan.get("name", "")),
            plan=plan,
            now=time.time(),
            state=state,
            why=why,
            record=record,
            seconds=earlier_seconds(self.folder),
            rounds=rounds,
            tests=self._file("evaluation.json", Tests.model_validate_json) or Tests(),
            skipped=tuple(self._skipped),
        )

    def _rounds(self) -> Iterator[Round]:
        names = [path.name for path in self.folder.glob("journal/*.json")]
        for phase in Phase:
            for name in sorted(name for name in names if name.startswith(f"{phase.value}-")):
                if entry := self._file(f"journal/{name}", Round.model_validate_json):
                    yield entry

    def _state(self, record: LiveRecord | None, *, begun: bool) -> tuple[RunState | None, str]:
        """The record knows an end; of a run that has none, the heartbeat tells if it lives."""
        beat = age(self.folder, record.begun - STALE if record else 0.0)
        if record and record.state is not RunState.RUNNING:
            return record.state, record.why
        if beat is not None and beat < STALE:
            return RunState.RUNNING, ""
        if record is None and beat is None:
            if (self.folder / "summary.json").is_file():  # written last, by older versions too
                return RunState.COMPLETED, ""
            if not begun:
                return None, ""
        silent = "none" if beat is None else f"the last {beat:.0f} s ago"
        return RunState.ORPHANED, f"it ended without a word, or hangs: of its heartbeats, {silent}"

    def _file(self, name: str, parse: Callable[[bytes], Parsed]) -> Parsed | None:
        """A file of the folder, parsed once for each version; None where there is none."""
        path = self.folder / name
        try:
            found = path.stat()
            version = (found.st_mtime_ns, found.st_size, found.st_ino)
            if path not in self._known or self._known[path][0] != version:
                self._known[path] = version, _parsed(path, parse)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._skipped.append(f"{name} cannot be read ({type(error).__name__}), and is skipped")
            return None
        parsed: Parsed | None = self._known[path][1]
        if parsed is None:
            self._skipped.append(f"{name} is damaged, and is skipped")
        return parsed


def _parsed(path: Path, parse: Callable[[bytes], Parsed]) -> Parsed | None:
    try:
        return parse(path.read_bytes())
    except (ValidationError, ValueError):
        return None


def headline_scores(tests: Tests) -> Iterator[tuple[Tested, str, str, list[float | None]]]:
    """Of each site the final model's scores: the site, task, metric, value with its interval."""
    for tested in tests.sites:
        for name, score in tested.scores.items():
            model, _, rest = name.partition("/")
            task, _, metric = rest.partition("/")
            if model == Scored.MODEL and metric and len(score) >= 3:
                yield tested, task, metric, score
