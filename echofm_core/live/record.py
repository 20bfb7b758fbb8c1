"""What a run says of itself while it goes on: ``live.json`` of its folder, for whoever watches it.

Symptom: a round of an hour, and nobody can say whom it waits for: the journal knows a round when it
is over. Reason: what goes on in between is in the memory of one process. Protocol: the run notes it
in a record, under a lock; the thread of its heartbeat writes the record, at most once a second,
whole and without fsync, where anything has changed. The last one, of a run that has ended, stays.
What can still go wrong: a disk that is full, and the record grows old; the run itself goes on.
It holds names of sites, numbers of files and sentences of refusals: nothing of one patient.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from echofm_core.live.heartbeat import heartbeat
from echofm_core.live.states import Doing, RunState, SiteState
from echofm_core.run_claim import LIVE
from echofm_core.runtime.errors import EchoFMError
from echofm_core.runtime.files import full_disk, write_whole
from echofm_core.runtime.sessions import earlier_seconds
from echofm_core.runtime.signals import Stopped


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore")


class SiteRecord(_Part):
    """A site as it is now.

    Attributes:
        seen: When it last gave a sign of life, in seconds since the epoch.
        why: Of a site that is refused, or gone.
        quarantined: Files that it cannot use; None before it has said so.
    """

    state: SiteState
    seen: float | None = None
    why: str = ""
    quarantined: int | None = None


class ModelRecord(_Part):
    """A model that is trained: the run's own, or one that it is compared with.

    Attributes:
        round, rounds: Of what it is at; 0 outside of training.
        since: When that began, in seconds since the epoch.
        left: Phase -> rounds that are not done.
    """

    doing: Doing = Doing.GATHER
    round: int = 0
    rounds: int = 0
    since: float = 0.0
    left: dict[str, int] = {}


class LiveRecord(_Part):
    """A run as it is now; times are seconds since the epoch.

    Attributes:
        doing: What it is at beside training, in words; may be empty.
        begun: When this session began.
        earlier: Seconds of the sessions before it.
        first, last: When this session's training began, and its last round was over; 0: not yet.
        phases: Phase -> rounds of the plan.
        spent: Phase -> rounds that this session has finished, over all models, and their seconds.
        models: By name, the run's own first.
        sites: Of the run's own model.
        quarantined: Files of all sites that are not used; None where the sites know that alone.
    """

    state: RunState = RunState.RUNNING
    why: str = ""
    doing: str = ""
    begun: float
    ended: float = 0.0
    earlier: float = 0.0
    first: float = 0.0
    last: float = 0.0
    phases: dict[str, int]
    spent: dict[str, tuple[int, float]] = {}
    models: dict[str, ModelRecord] = {}
    sites: dict[str, SiteRecord] = {}
    quarantined: int | None = None


class LiveRun:
    """The record of a run, and its file; safe to use from any thread."""

    def __init__(self, folder: Path, phases: Mapping[str, int]) -> None:
        self._path = folder / LIVE
        self._lock = threading.Lock()
        self._changed = True
        self._record = LiveRecord(
            begun=time.time(), earlier=earlier_seconds(folder), phases=dict(phases)
        )

    @contextmanager
    def change(self) -> Iterator[LiveRecord]:
        """The record, to be changed within the block."""
        with self._lock:
            yield self._record
            self._changed = True

    def expect(self, *models: str, quarantined: int | None = None) -> None:
        """Say which models will be trained, the run's own first, and how many files are lost."""
        with self.change() as record:
            record.quarantined = quarantined
            record.models = {name: ModelRecord(left=dict(record.phases)) for name in models}

    def say(self, doing: str) -> None:
        """Say at once what the run is at beside training."""
        with self.change() as record:
            record.doing = doing
        self.flush()

    def end(self, state: RunState, why: str = "") -> None:
        """Say at once how it ended."""
        with self.change() as record:
            record.state, record.why, record.ended, record.doing = state, why, time.time(), ""
        self.flush()

    def flush(self) -> None:
        """Write the record, where it has changed; a disk that refuses is the run's own affair."""
        with self._lock:
            if self._changed:
                with suppress(OSError):
                    text = self._record.model_dump_json(indent=1)
                    write_whole(self._path, text.encode(), durable=False)
                    self._changed = False


@contextmanager
def live_run(folder: Path, phases: Mapping[str, int]) -> Iterator[LiveRun]:
    """Keep heartbeat and record of a run that this process has the folder of.

    Args:
        folder: Run folder.
        phases: Phase -> rounds of the plan.
    """
    live = LiveRun(folder, phases)
    live.flush()
    with heartbeat(folder, live.flush):
        try:
            yield live
        except BaseException as error:
            live.end(RunState.FAILED, ending(error, "the run"))
            raise
        live.end(RunState.COMPLETED)


def ending(error: BaseException, who: str) -> str:
    """What ended a run, as one sentence; ``who`` met it."""
    if isinstance(error, EchoFMError):
        return str(error)
    if isinstance(error, Stopped):
        return f"{who} was stopped by {error}; go on with --resume."
    if found := full_disk(error):
        return f"{who} met a full disk ({found.strerror}); make room and go on with --resume."
    return f"{who} met a bug ({type(error).__name__})"
