"""The sign of life that a run leaves in its folder: the time of a file, nothing in it.

It goes when the run ends, however well; where it stays and grows old, its process was killed, or
hangs.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from echofm_core.run_claim import HEARTBEAT

#: Seconds between two beats, and after how many without one nobody works there any more.
BEAT, STALE = 1.0, 15.0


@contextmanager
def heartbeat(folder: Path, also: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Touch a run folder's heartbeat for a block; ``also`` is called after each beat."""
    path, over = folder / HEARTBEAT, threading.Event()

    def beat() -> None:
        while not over.wait(BEAT):
            with suppress(OSError):  # a full disk ends the run by its own error
                path.touch()
                also()

    path.touch()
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        path.unlink(missing_ok=True)


def age(folder: Path, since: float = 0.0) -> float | None:
    """Seconds since the last beat; None where there was none after ``since`` (epoch seconds)."""
    try:
        last = (folder / HEARTBEAT).stat().st_mtime
    except OSError:
        return None
    return max(0.0, time.time() - last) if last >= since else None
