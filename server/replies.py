"""Replies of a round, handed out one at a time and in site-name order, whoever came first.

Symptom: bits that depend on who answers first, or memory that grows with the sites. Reason: sums of
floats depend on their order, and a pull may block while its site uploads. Protocol: over a network
each site has a thread that looks for its reply, one download goes on at a time, and every reply
waits on disk until its turn. A grid inside this process keeps replies itself until they are pulled
(it says so by ``keeps_replies = True``), so pulling in order is enough. What can still go wrong: a
grid that is neither and blocks in a pull holds one reply for each site that uploads for longer than
``COURTESY``; Flower's HTTP grid is no such grid (``http_objects.py``).
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from flwr.app import Message
from flwr.serverapp import Grid
from flwr.superlink.grid.http_grid import HttpGrid

from server.http_objects import ObjectPull, push_objects
from server.parking import scratch_path, swap_arrays

#: Seconds between two looks for one site's reply.
POLL = 0.5
#: Seconds after which a download no longer holds up the others.
COURTESY = 20.0


def _looker(grid: Grid, folder: Path) -> Callable[[str], Message | None]:
    """What looks for the reply to a message; the arrays of what it finds are in ``folder``."""
    if isinstance(grid, HttpGrid):
        return ObjectPull(grid, folder).look

    def look(message_id: str) -> Message | None:
        for reply in grid.pull_messages([message_id]):
            if reply.has_content():
                folder.mkdir(parents=True, exist_ok=True)
                reply.content = swap_arrays(reply.content, scratch_path(folder, "reply"))
            return reply
        return None

    return look


class OrderedReplies:
    """The replies of one phase, from a grid that keeps them until they are pulled."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._late: dict[str, str] = {}

    def busy(self) -> frozenset[str]:
        """Sites that still work on an instruction whose round is over."""
        for site, message_id in list(self._late.items()):
            if list(self._grid.pull_messages([message_id])):
                del self._late[site]
        return frozenset(self._late)

    def collect(
        self, messages: Mapping[str, Message], deadline: float
    ) -> Iterator[tuple[str, Message | None]]:
        """Send one message a site, then yield each site's reply in name order.

        Args:
            messages: Site name -> instruction.
            deadline: ``time.monotonic()`` at which the round closes; a site without a reply then
                yields None, and its reply is thrown away whenever it comes.
        """
        ids = push(self._grid, messages)
        for site in sorted(ids):
            while True:
                # At least one look, so that a reply that is there counts even past the deadline.
                if found := list(self._grid.pull_messages([ids[site]])):
                    yield site, found.pop()
                    break
                if time.monotonic() >= deadline:
                    self._late[site] = ids[site]
                    yield site, None
                    break

    def close(self) -> None:
        """Nothing to stop."""


class PulledReplies:
    """The same from a grid over a network: one thread a site."""

    def __init__(self, grid: Grid, folder: Path) -> None:
        self._grid = grid
        self._look = _looker(grid, folder)
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

    def collect(
        self, messages: Mapping[str, Message], deadline: float
    ) -> Iterator[tuple[str, Message | None]]:
        """As of :class:`OrderedReplies`; all are pulled at once."""
        with self._changed:
            self._round += 1
            self._arrived.clear()
            self._pulling.update(messages)
        for task in push(self._grid, messages).items():
            args = (*task, self._round)
            threading.Thread(target=self._pull, args=args, daemon=True).start()
        for site in sorted(messages):
            yield site, self._take(site, deadline)

    def close(self) -> None:
        """Let the threads end at their next look."""
        with self._changed:
            self._closed = True
            self._arrived.clear()

    def _take(self, site: str, deadline: float) -> Message | None:
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
                    reply = self._look(message_id)
                if reply is None:
                    time.sleep(POLL)
            except Exception as error:  # handed to the thread that waits for it
                reply = error
        with self._changed:
            self._pulling.discard(site)
            if reply is not None and round_ == self._round and not self._closed:
                self._arrived[site] = reply
            self._changed.notify_all()


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


def push(grid: Grid, messages: Mapping[str, Message]) -> dict[str, str]:
    """Send all messages; site name -> message id, which is how a reply finds its site."""
    sites = sorted(messages)
    send = partial(push_objects, grid) if isinstance(grid, HttpGrid) else grid.push_messages
    ids: Iterable[str] = send([messages[site] for site in sites])
    return dict(zip(sites, ids, strict=True))


Replies = OrderedReplies | PulledReplies


def open_replies(grid: Grid, folder: Path) -> Replies:
    """The way that fits the grid; early replies wait in ``folder``, late sites end with close."""
    keeps = getattr(grid, "keeps_replies", False)
    return OrderedReplies(grid) if keeps else PulledReplies(grid, folder)
