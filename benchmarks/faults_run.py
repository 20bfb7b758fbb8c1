"""A run to which things happen: its plan, its command, its moments, and what it leaves."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from client.kept_reply import FILE
from echofm_core.plan.document import Plan
from echofm_core.runtime.array_files import load_metadata
from tests.federation.small import NAMES, small_plan

SITES = NAMES

#: Seconds that anything may take here before it counts as hanging.
PATIENCE = 420.0


class FaultError(Exception):
    """What should have happened did not."""


def plan_of(name: str, *, rounds: int = 2, **federation: object) -> Plan:
    """Rounds of pre-training, each site's decoder its own; two of the three sites are a quorum.

    The second round is the one to which things happen.
    """
    plan = small_plan(
        pretrain={"rounds": rounds, "local_steps": 12, "keep_optimizer": True},
        finetune={"rounds": 0},
        federation={"min_sites": 2, "deadline_seconds": 150, **federation},
    )
    return plan.model_copy(update={"name": name})


def until(
    reached: Callable[[], object], what: str, seconds: float = PATIENCE, *, every: float = 0.01
) -> None:
    """Wait for something, and look for it again and again.

    Raises:
        FaultError: It did not come.
    """
    deadline = time.monotonic() + seconds
    while True:
        with suppress(FileNotFoundError, psutil.Error):
            if reached():
                return
        if time.monotonic() > deadline:
            raise FaultError(f"after {seconds:.0f} s not yet: {what}")
        time.sleep(every)


@dataclass
class Command:
    """A running ``echofm`` command, and all that it says."""

    process: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        """All of it so far."""
        return self.log.read_text(errors="replace")

    def sentence(self) -> str:
        """The last that it has said, but for where to read of its exit code."""
        lines = [line for line in self.said().splitlines() if line.strip()]
        told = [line for line in lines if not line.startswith("(exit code")]
        return told[-1] if told else ""

    def wait_for(self, word: str) -> None:
        """Until it has said a word.

        Raises:
            FaultError: It ended, or did not.
        """
        until(lambda: word in self.said() or self.process.poll() is not None, word)
        if word not in self.said():
            raise FaultError(f"ended without {word!r}: {self.said()[-600:]}")

    def end(self) -> int:
        """Wait for its end; returns its exit code.

        Raises:
            FaultError: It hangs.
        """
        until(lambda: self.process.poll() is not None, f"the end of {self.log.name}")
        return int(self.process.returncode)


@dataclass
class Submitted:
    """A run of a plan: its command of now, and what is on the disk."""

    plan: Plan
    folder: Path
    command: Command

    def entries(self) -> dict[int, dict[str, object]]:
        """Round -> its entry in the journal."""
        found = sorted((self.folder / "journal").glob("pretrain-*.json"))
        return {int(path.stem.split("-")[1]): json.loads(path.read_text()) for path in found}

    def lost(self) -> dict[str, str]:
        """``round N, SITE`` -> why the journal says that it does not count."""
        return {
            f"round {number}, {site}": str(why)
            for number, entry in self.entries().items()
            for site, why in dict(entry["refused"]).items()  # type: ignore[call-overload]
        }

    def missing(self) -> list[str]:
        """Sites that a round lacks without a word in the journal."""
        return [
            f"round {number}, {site}"
            for number, entry in self.entries().items()
            for site in SITES
            if site not in entry["sites"] and site not in entry["refused"]  # type: ignore[operator]
        ]

    def digest(self) -> str:
        """Of the final model; "" where there is none."""
        path = self.folder / "model" / "model.safetensors"
        return load_metadata(path)["digest"] if path.exists() else ""


def _newer(path: Path, than: Path) -> bool:
    """Both are there, and the first was written later."""
    return path.exists() and than.exists() and path.stat().st_mtime > than.stat().st_mtime


def reach(run: Submitted, site: Path, moment: str) -> None:
    """Wait for a moment of the second round at a site, whose folder is given.

    Round 1 is in the journal by then.

    Raises:
        FaultError: The run ended before.
    """
    first = run.folder / "journal" / "pretrain-0001.json"
    state = site / "state" / run.plan.run_name()
    reached: Callable[[], bool] = {
        "before sending": first.exists,
        "in training": lambda: _newer(state / "progress" / "pretrain.safetensors", first),
        "in the upload": lambda: _newer(state / FILE, first),
        "while it is written down": lambda: any(
            "pretrain-0002" in path.name for path in (run.folder / "checkpoints").iterdir()
        ),
    }[moment]
    until(lambda: reached() or run.command.process.poll() is not None, moment)
    if run.command.process.poll() is not None:
        raise FaultError(f"the run ended and was not seen {moment}: {run.command.sentence()}")


def stop(command: Command | None) -> None:
    """End a command as Ctrl-C does."""
    if command is not None and command.process.poll() is None:
        command.process.send_signal(signal.SIGINT)
        command.end()
