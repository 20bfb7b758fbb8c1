"""Replies from a grid over a network, which keeps none of them.

Symptom: memory that grows with the sites, and a round that waits for a machine that has died.
Reason: a pull may block while its site uploads, and a network gives no sign of an end. Protocol:
each site has a thread that looks for its reply, one download goes on at a time, and every reply
waits on disk until its turn; a site whose node is not listed any more is given up (``presence``).
What can still go wrong: a grid that blocks in a pull holds one reply for each site that uploads for
longer than ``COURTESY``; Flower's HTTP grid is no such grid (``http_objects.py``), but takes half a
CPU second to import: a simulation does without this module.
"""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flwr.app import Message
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid
from flwr.superlink.grid.http_grid import HttpGrid

from server import presence
from server.http_objects import ObjectPull, push_objects
from server.parking import scratch_path, swap_arrays
from server.presence import Presence
from server.replies import NoReply, Patience, Replies

#: Seconds between two requests for one site's reply.
POLL = 0.5
#: Seconds after which a download no longer holds up the others.
COURTESY = 20.0
#: Answers of a site by which its next one is timed.
LAST = 3


@dataclass(frozen=True, slots=True)
class _Question:
    """What a thread looks for the answer to: a message, to a session of a node, sent when."""

    message_id: str
    node: int
    session: str
    round: int
    sent: float


class PulledReplies(Replies):
    """Replies that a thread a site looks for; they wait in ``folder``, and come as they come."""

    def __init__(self, grid: Grid, folder: Path) -> None:
        super().__init__(grid, folder)
        self._push: Callable[[list[Message]], Iterable[str]] = grid.push_messages
        self._poll = self._pull_whole
        if isinstance(grid, HttpGrid):
            self._push, self._poll = partial(push_objects, grid), ObjectPull(grid, folder).poll
        self._presence = Presence(grid)
        self._gate = DownloadGate(COURTESY)
        self._changed = threading.Condition()
        self._asked: dict[str, _Question] = {}
        self._arrived: dict[str, Message | NoReply | Exception] = {}
        self._took: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=LAST))
        self._round = 0
        self._closed = False

    def busy(self) -> frozenset[str]:
        """Sites whose thread still waits for a reply."""
        with self._changed:
            return frozenset(self._asked)

    def absent(self, nodes: Mapping[str, int]) -> dict[str, str]:
        """Sites whose node is gone."""
        self._presence.look()
        return {site: why for site, node in nodes.items() if (why := self._presence.gone(node))}

    def returning(self, nodes: Mapping[str, int]) -> bool:
        """Whether a node has just gone."""
        return any(self._presence.returning(node) for node in nodes.values())

    def collect(
        self, messages: Mapping[str, Message], patience: Patience
    ) -> Iterator[tuple[str, Message | NoReply]]:
        """As of :class:`Replies`, in the order of arrival; a node that is gone is not asked."""
        absent = self.absent({site: it.metadata.dst_node_id for site, it in messages.items()})
        yield from ((site, NoReply(why)) for site, why in absent.items())
        left = messages.keys() - absent.keys()
        self._send({site: messages[site] for site in sorted(left)})
        while left:
            self._presence.look()
            reply: Message | NoReply | None = None
            if site := self._first(left, min(presence.WATCH, patience.left())):
                with self._changed:
                    found = self._arrived.pop(site)
                if isinstance(found, Exception):
                    raise found
                reply = found
                del found
            elif patience.left() <= 0:
                site, reply = min(left), patience.late()
            else:
                with self._changed:  # or a thread would add to what is read
                    dropped = patience.dropped(left - self._arrived.keys(), self._took)
                if dropped:
                    site, why = min(dropped.items())
                    reply = NoReply(why)
            if reply is not None:
                left.discard(site)
                yield site, reply
            del reply  # its bytes are not needed while the next one comes

    def set_aside(self, reply: Message) -> Callable[[], Message]:
        """Every reply is on disk already."""
        return lambda: reply

    def close(self) -> None:
        """Let the threads end after their next request."""
        with self._changed:
            self._closed = True
            self._arrived.clear()

    def _send(self, messages: Mapping[str, Message]) -> None:
        """Send all, and begin to look for all replies at once."""
        with self._changed:
            self._round += 1
            self._arrived.clear()
        ids = self._push(list(messages.values())) if messages else ()  # Flower takes no empty list
        for (site, message), message_id in zip(messages.items(), ids, strict=True):
            node = message.metadata.dst_node_id
            session = self._presence.session(node)
            question = _Question(message_id, node, session, self._round, time.monotonic())
            with self._changed:
                self._asked[site] = question
            threading.Thread(target=self._pull, args=(site, question), daemon=True).start()

    def _first(self, left: Set[str], seconds: float) -> str:
        """The first site by name of which something has arrived; waits for one, then ""."""
        with self._changed:
            self._changed.wait_for(lambda: left & self._arrived.keys(), max(0.0, seconds))
            return min(left & self._arrived.keys(), default="")

    def _pull(self, site: str, question: _Question) -> None:
        """Look for one reply until it comes, or never will; runs in its own thread."""
        reply: Message | NoReply | Exception | None = None
        while reply is None and not self._closed:
            # Before the poll: what a node sent before it went is there, and counts.
            lost = self._presence.lost(question.node, question.session)
            try:
                with self._gate.enter():
                    reply = self._poll(question.message_id)
            except Exception as error:  # handed to the thread that waits for it
                reply = error
            if reply is None and lost:
                reply = NoReply(lost)
            if reply is None:
                time.sleep(POLL)
        if isinstance(reply, Message) and _node_unavailable(reply):
            reply = NoReply(self._presence.mark_gone(question.node))
        with self._changed:
            if isinstance(reply, Message) and reply.has_content():  # one that is late, too
                self._took[site].append(time.monotonic() - question.sent)
            del self._asked[site]
            if reply is not None and question.round == self._round and not self._closed:
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


def _node_unavailable(reply: Message) -> bool:
    """Flower's answer in place of a node that has gone."""
    return reply.has_error() and reply.error.code == ErrorCode.NODE_UNAVAILABLE


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
