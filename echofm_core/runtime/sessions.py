"""How long a run took, over all the sessions that it was stopped and gone on with."""

import json
import threading
import time
from pathlib import Path

from echofm_core.runtime.files import write_whole

#: File of a run folder: seconds of each session, the running one last.
FILE = "sessions.json"


class Sessions:
    """The clock of a run folder.

    It is written at each :meth:`tick`, so that of a killed session all counts up to its last one.
    Ticks may come from several threads.
    """

    def __init__(self, run: Path) -> None:
        """Start a session; earlier ones are read from the folder, a damaged file counts nothing."""
        self._path = run / FILE
        self._earlier = _read(self._path)
        self._started = time.monotonic()
        self._lock = threading.Lock()

    def tick(self) -> float:
        """Write down the time so far, and return the seconds of all sessions."""
        with self._lock:
            seconds = [*self._earlier, round(time.monotonic() - self._started, 1)]
            write_whole(self._path, json.dumps({"seconds": seconds}).encode())
        return round(sum(seconds), 1)


def earlier_seconds(run: Path) -> float:
    """Seconds of all sessions of a run folder so far."""
    return round(sum(_read(run / FILE)), 1)


def _read(path: Path) -> list[float]:
    try:
        return [float(value) for value in json.loads(path.read_bytes())["seconds"]]
    except (OSError, ValueError, TypeError, KeyError):
        return []
