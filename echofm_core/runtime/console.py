"""Progress and status lines: live bars in a terminal, plain lines in a log."""

import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from echofm_core.runtime.text import span

console = Console(highlight=False, soft_wrap=True)

#: Seconds between two plain progress lines where there is no terminal.
PLAIN_INTERVAL = 10.0
#: Plain lines over which the speed is measured that the estimated time left is made of.
LATELY = 6


@dataclass(slots=True)
class Meter:
    """Handle of one running progress display."""

    title: str
    total: int
    done: int = 0
    _progress: Progress | None = None
    _task: TaskID | None = None
    _started: float = 0.0
    _printed: float = 0.0
    _begun: bool = False
    _lately: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=LATELY))

    def begin(self) -> None:
        """Start the clock where work starts: what was before it says nothing of the time left."""
        if self._begun:
            return
        self._begun = True
        self._started = self._printed = time.monotonic()
        self._lately.append((self._started, self.done))
        if self._progress is not None and self._task is not None:
            self._progress.reset(self._task, completed=self.done)

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count finished items; ``note`` is shown behind the title."""
        self.done += count
        title = f"{self.title} {note}".rstrip()
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=self.done, description=title)
            return
        now = time.monotonic()
        if self.done >= self.total or now - self._printed >= PLAIN_INTERVAL:
            self._printed = now
            left = self._left(now)
            print(
                f"{title}: {self.done}/{self.total} ({now - self._started:.0f} s{left})", flush=True
            )

    def _left(self, now: float) -> str:
        """Time left by the last few lines: what a killed run had done goes by quickly."""
        before, done = self._lately[0] if self._lately else (self._started, 0)
        self._lately.append((now, self.done))
        if self.done >= self.total or self.done <= done:
            return ""
        return f", {span((self.total - self.done) * (now - before) / (self.done - done))} left"


@contextmanager
def progress(title: str, total: int) -> Iterator[Meter]:
    """Show progress over ``total`` items; a bar in a terminal, a line now and then elsewhere."""
    started = time.monotonic()
    if not (sys.stdout.isatty() and console.is_terminal):
        yield Meter(title, total, _started=started, _printed=started)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        yield Meter(title, total, _progress=bars, _task=bars.add_task(title, total=total))
