"""The run that was submitted last: how it fares, and how it is stopped.

Beside what command and ServerApp report (:mod:`server.watch`) the command notes what it submitted.
The state follows from the report's end, or from the heartbeat in the run folder where it has none.
"""

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from echofm_core.live.heartbeat import STALE, age
from echofm_core.live.states import RunState
from echofm_core.runtime.errors import FederationError
from echofm_core.runtime.file_lock import is_locked
from echofm_core.runtime.files import write_whole
from server.flower import ask
from server.kit import CONNECTION, Kit
from server.watch import INTERVAL, Reporter, is_alive

#: Seconds that a stopped ServerApp has to be gone.
PATIENCE = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class LastRun:
    """A submitted run.

    Attributes:
        report: File that command and ServerApp append to.
        number: Flower's; "" where it was not accepted, or not yet.
        folder: Its run folder.
        begun: When it was submitted, in seconds since the epoch.
        heartbeat: Seconds since the ServerApp's last sign of life, None without any.
        why: What ended it, where it failed or is orphaned.
    """

    report: Path
    number: str
    folder: Path
    begun: float
    state: RunState
    heartbeat: float | None
    why: str


def note(report: Path, run: Path, number: str = "") -> None:
    """Write down what is submitted, and again when it has got its number."""
    values = {"folder": str(run.resolve()), "number": number, "begun": time.time()}
    with suppress(OSError, ValueError):
        values["begun"] = json.loads(_note(report).read_bytes())["begun"]
    write_whole(_note(report), json.dumps(values).encode())


def last_run(kit: Kit) -> LastRun | None:
    """The run that was submitted last; None before the first."""
    notes = sorted((kit.folder / "runs").glob("[0-9]*.json"))
    if not notes:
        return None
    values = json.loads(notes[-1].read_bytes())
    report, folder = notes[-1].with_suffix(".jsonl"), Path(values["folder"])
    beat = age(folder, values["begun"])
    state, why = _state(report, beat)
    return LastRun(
        report=report,
        number=values["number"],
        folder=folder,
        begun=values["begun"],
        state=state,
        heartbeat=None if beat is None else round(beat, 1),
        why=why,
    )


def stop_run(kit: Kit) -> LastRun:
    """Stop the run that is running, and return when its ServerApp is gone.

    Raises:
        FederationError: None is running, or it did not end.
    """
    run = last_run(kit)
    if run is None or run.state is not RunState.RUNNING:
        words = f"the last one, in {run.folder}, is {run.state}" if run else "there was none yet"
        raise FederationError(f"no run of {kit.folder} is running; {words}.")
    # Its `echofm server run` ends with this sentence, and the ServerApp with the command.
    words = "the run was stopped by `echofm server stop`; go on with --resume."
    Reporter(run.report).append({"error": words, "code": FederationError.exit_code})
    if run.number:
        with suppress(FederationError):  # it has ended meanwhile
            ask(kit, "stop", run.number, CONNECTION)
    deadline = time.monotonic() + PATIENCE
    while is_alive(run.report):
        if time.monotonic() >= deadline:
            raise FederationError(
                f"the run in {run.folder} did not end within {PATIENCE:g} s; stop `echofm server "
                "start`, which takes it with it."
            )
        time.sleep(INTERVAL)
    return run


def _state(report: Path, beat: float | None) -> tuple[RunState, str]:
    """State of a run and what ended it, by its report and the age of its last heartbeat."""
    for line in report.read_bytes().splitlines() if report.exists() else ():
        with suppress(ValueError):  # half written
            record = json.loads(line)
            if "done" in record:
                return RunState.COMPLETED, ""
            if "error" in record:
                return RunState.FAILED, str(record["error"])
    if beat is None and is_locked(report):
        return RunState.RUNNING, ""  # it begins, or ends
    if beat is not None and beat < STALE:
        return RunState.RUNNING, ""
    silent = "none" if beat is None else f"the last {beat:.0f} s ago"
    return RunState.ORPHANED, f"it ended without a word, or hangs: of its heartbeats, {silent}"


def _note(report: Path) -> Path:
    return report.with_suffix(".json")
