"""The processes that a process has started, and theirs."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc/self/stat")


def descendants(root: int | None = None) -> set[int]:
    """Ids of all running processes below a process; of this one where none is named."""
    parents = _parents()
    found, fresh = set[int](), {os.getpid() if root is None else root}
    while fresh:
        fresh = {child for child, parent in parents.items() if parent in fresh} - found
        found |= fresh
    return found


def end_descendants() -> None:
    """Kill all processes below this one, whatever they do."""
    while left := descendants():
        for child in left:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def _parents() -> dict[int, int]:
    """Process -> its parent; what has ended and waits for its parent to hear of it is left out."""
    if PROC.exists():
        stats = (_stat(path) for path in Path("/proc").glob("[0-9]*/stat"))
        return {child: parent for child, parent, state in stats if state not in "ZX"}
    columns = ["ps", "-axo", "pid=,ppid=,stat="]
    with subprocess.Popen(columns, stdout=subprocess.PIPE, text=True) as listing:
        rows = [line.split() for line in listing.stdout or ()]
    found = {int(row[0]): int(row[1]) for row in rows if row[2][0] not in "ZX"}
    found.pop(listing.pid, None)
    return found


def _stat(path: Path) -> tuple[int, int, str]:
    """Process, parent, state; state X where the process has gone meanwhile."""
    try:
        # The name, in brackets, may hold anything.
        fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0, 0, "X"
    return int(path.parent.name), int(fields[1]), fields[0]
