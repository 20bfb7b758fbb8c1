"""What ``echofm server run`` and its ServerApp, two processes of one machine, know of each other.

The ServerApp appends lines to a file, one JSON object each, and the command prints them. Each holds
a file while it lives: a ServerApp for which nobody waits any more ends, and a command whose
ServerApp has died says so.
"""

import inspect
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from echofm_core.live.record import ending
from echofm_core.runtime import errors
from echofm_core.runtime.errors import EchoFMError
from echofm_core.runtime.file_lock import file_lock, is_locked

#: Seconds between two checks of the other one.
INTERVAL = 0.5
#: Seconds that a ServerApp has to end by itself.
GRACE = 2.0


class Reporter:
    """The ServerApp's side."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def line(self, text: str) -> None:
        """Report one thing that happened."""
        self.append({"line": text})
        print(text, flush=True)

    def append(self, record: dict[str, object]) -> None:
        """Append a record."""
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")

    def fail(self, error: BaseException, who: str) -> None:
        """Append what ended the run."""
        self.append({"error": ending(error, who), "code": getattr(error, "exit_code", 0)})


@contextmanager
def reporter(path: Path | None) -> Iterator[Reporter]:
    """Report to the command that waits what happens, and how it ends; end when none waits.

    Args:
        path: File that the command holds; None where no command waits.
    """
    side, over = Reporter(path), threading.Event()
    if path is None:
        yield side
        return
    with file_lock(_alive(path), wait=True):
        threading.Thread(target=_end_with_command, args=(path, over), daemon=True).start()
        side.append({"begun": os.getpid()})
        try:
            yield side
        except Exception as error:
            over.set()
            side.fail(error, "the ServerApp")
            raise
        over.set()
        side.append({"done": True})


class Watcher:
    """The command's side: what its ServerApp has reported since it was read last.

    Attributes:
        begun: The ServerApp has reported something.
        done: Its work is done.
        failed: It, or whoever stopped it, has said what ended it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._error: EchoFMError | None = None
        self.begun = False
        self.done = False
        self.failed = False

    def lines(self) -> list[str]:
        """New lines to show.

        Raises:
            EchoFMError: What ended the ServerApp, after all that it reported before.
        """
        with self._path.open("rb") as file:
            file.seek(self._read)
            whole, _, _ = file.read().rpartition(b"\n")
        self._read += len(whole) + 1 if whole else 0
        shown = []
        for record in map(json.loads, whole.splitlines()):
            self.begun |= "begun" in record
            self.done |= "done" in record
            if "error" in record:
                self.failed = True
                self._error = _error(record["code"])(record["error"])
            if "line" in record:
                shown.append(record["line"])
        if self._error and not shown:
            raise self._error
        return shown

    def alive(self) -> bool:
        """Does the ServerApp run?"""
        return is_alive(self._path)


@contextmanager
def watch(folder: Path) -> Iterator[tuple[Path, Watcher]]:
    """Hold a new file in a folder for a ServerApp to write to; what ends the command is in it."""
    path = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.jsonl"
    with file_lock(path):
        _alive(path).touch()
        watcher = Watcher(path)
        try:
            yield path, watcher
        except BaseException as error:
            if not watcher.failed:
                Reporter(path).fail(error, "`echofm server run`")
            raise


def is_alive(path: Path) -> bool:
    """Does the ServerApp that reports to a file run?"""
    return is_locked(_alive(path))


def _alive(path: Path) -> Path:
    return path.with_suffix(".alive")


def _end_with_command(path: Path, over: threading.Event) -> None:
    """Ask this process to end when nobody waits for it, and see to it."""
    while is_locked(path):
        over.wait(INTERVAL)
    if over.is_set():  # the command read so, and ended
        return
    print("nobody waits for this run any more: it ends.", flush=True)
    # A command that ended otherwise has said why, and what is said first counts.
    words = "its `echofm server run` was killed; go on with --resume."
    Reporter(path).append({"error": words, "code": errors.FederationError.exit_code})
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(128 + signal.SIGTERM)


def _error(code: int) -> type[EchoFMError]:
    """The error with an exit code."""
    for _, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, EchoFMError) and kind.exit_code == code:
            return kind
    return errors.FederationError
