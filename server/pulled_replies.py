"""Replies from a grid over a network, which keeps none of them.

Symptom: memory that grows with the sites. Reason: a pull may block while its site uploads.
Protocol: each site has a thread that looks for its reply, one download goes on at a time, and every
reply waits on disk until its turn. What can still go wrong: a grid that blocks in a pull holds one
reply for each site that uploads for longer than ``COURTESY``; Flower's HTTP grid is no such grid
(``http_objects.py``), but takes half a CPU second to import: a simulation does without this module.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from flwr.app import Message
from flwr.serverapp import Grid
from flwr.superlink.grid.http_grid import HttpGrid

from server.http_objects import ObjectPull, push_objects
from server.parking import scratch_path, swap_arrays
from server.replies import Replies

#: Seconds between two requests for one site's reply.
POLL = 0.5
#: Seconds after which a download no longer holds up the others.
COURTESY = 20.0


class PulledReplies(Replies):
    """Replies that a thread a site looks for; those that are early wait in ``folder``."""

    def __init__(self, grid: Grid, folder: Path) -> None:
        super().__init__(grid, folder)
        self._poll = self._pull_whole
        if isinstance(grid, HttpGrid):
            self._push, self._poll = partial(push_objects, grid), ObjectPull(grid, folder).poll
        self._gate = DownloadGate(COURTESY)
        self._changed = threading.Condition()
        self._pulling: set[str] = set()
        self._arrived: dict[str, Message | Exception] = {}
        self._round = 0
        self._closed = False

    def busy(self) -> frozenset[str]:
        """Sites whose thread still waits for a reply."""
        with self._changed:
            return frozenset(self._pulling)

    def set_aside(self, reply: Message) -> Callable[[], Message]:
        """Every reply is on disk already."""
        return lambda: reply

    def close(self) -> None:
        """Let the threads end after their next request."""
        with self._changed:
            self._closed = True
            self._arrived.clear()

    def _send(self, messages: Mapping[str, Message]) -> dict[str, str]:
        """Send all, and begin to look for all replies at once."""
        with self._changed:
            self._round += 1
            self._arrived.clear()
            self._pulling.update(messages)
        ids = super()._send(messages)
        for task in ids.items():
            args = (*task, self._round)
            threading.Thread(target=self._pull, args=args, daemon=True).start()
        return ids

    def _reply(self, site: str, message_id: str, deadline: float) -> Message | None:
        with self._changed:
            while site not in self._arrived:
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)
            reply = self._arrived.pop(site)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _pull(self, site: str, message_id: str, round_: int) -> None:
        """Look for one reply until it comes; runs in its own thread."""
        reply: Message | Exception | None = None
        while reply is None and not self._closed:
            try:
                with self._gate.enter():
                    reply = self._poll(message_id)
                if reply is None:
                    time.sleep(POLL)
            except Exception as error:  # handed to the thread that waits for it
                reply = error
        with self._changed:
            self._pulling.discard(site)
            if reply is not None and round_ == self._round and not self._closed:
                self._arrived[site] = reply
            self._changed.notify_all()

    def _pull_whole(self, message_id: str) -> Message | None:
        """A reply of a grid that gives whole messages, its arrays on disk."""
        for reply in self._grid.pull_messages([message_id]):
            if reply.has_content():
                self._folder.mkdir(parents=True, exist_ok=True)
                reply.content = swap_arrays(reply.content, scratch_path(self._folder, "reply"))
            return reply
        return None


class DownloadGate:
    """Lets one download through at a time, so that memory does not grow with the sites.

    Whoever is inside for longer than ``patience`` seconds (a slow uploader) no longer counts.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._free = threading.Semaphore(1)

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Wait for the turn; others follow on leaving, or once the patience is over."""
        self._free.acquire()
        once = threading.Lock()

        def release() -> None:
            if once.acquire(blocking=False):
                self._free.release()

        timer = threading.Timer(self._patience, release)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            release()
