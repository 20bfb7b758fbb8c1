"""A federation's run as the coordinator sees it: the run folder, and who is there now."""

import datetime
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from echofm_core.live.run_data import RunData, RunReader
from echofm_core.live.show import run_source
from echofm_core.live.states import RunState
from echofm_core.live.view import Presence, View, view_of
from echofm_core.runtime.errors import EchoFMError
from server.kit import Kit
from server.last_run import LastRun, last_run
from server.status import SiteStatus, status_of

#: Seconds between two questions to the SuperLink: each costs a process of Flower's a second.
ASK = 30.0


def view_source(folder: Path) -> Callable[[], View]:
    """Gives the view of a coordinator's last run, or of a run folder, as it is when asked.

    Raises:
        DataRootError: There is no such folder.
    """
    kit = Kit(folder.resolve())
    return CoordinatorSource(kit).view if kit.authority.exists() else run_source(folder)


class CoordinatorSource:
    """The run that was submitted last, whichever that is when it is asked."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._reader = RunReader(kit.folder)
        self._presence: dict[str, Presence] = {}
        self._asked = -ASK
        self._asking: threading.Thread | None = None

    def view(self) -> View:
        """That run as it is now, and each admitted site."""
        run = last_run(self._kit)
        if run is None:
            self._look()
            return view_of(self._nothing(), self._presence)
        if run.folder != self._reader.folder:
            self._reader = RunReader(run.folder)
        data = _ending(self._reader.read(), run)
        if data.state is not RunState.RUNNING:
            return view_of(data)
        self._look()
        return view_of(data, self._presence)

    def _nothing(self) -> RunData:
        """Before the first run."""
        return RunReader(self._kit.folder / "runs" / "none").read()

    def _look(self) -> None:
        """Ask the SuperLink now and then, and never wait for its answer."""
        idle = self._asking is None or not self._asking.is_alive()
        if idle and time.monotonic() - self._asked >= ASK:
            self._asked = time.monotonic()
            self._asking = threading.Thread(target=self._ask, daemon=True)
            self._asking.start()

    def _ask(self) -> None:
        with suppress(EchoFMError, OSError):
            status = status_of(self._kit)
            known = {site.name: _presence(site) for site in status.sites}
            self._presence = known if status.serving else {}


def _presence(site: SiteStatus) -> Presence:
    seen = None
    if site.last_seen:
        with suppress(ValueError):
            seen = datetime.datetime.fromisoformat(site.last_seen).timestamp()
    return Presence(online=site.state == "online", seen=seen)


def _ending(data: RunData, run: LastRun) -> RunData:
    """What the command has said of the run's end counts: it knows of ends that the run does not."""
    older = data.record is not None and data.record.begun < run.begun
    if run.state is RunState.RUNNING:
        return replace(data, state=run.state, why="", record=None if older else data.record)
    return replace(data, state=run.state, why=run.why)
