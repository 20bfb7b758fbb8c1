"""Replies of a round, handed out one at a time, each with its site.

Symptom: bits that depend on who answers first. Reason: sums of floats depend on their order.
Protocol: a grid inside this process keeps replies itself until they are pulled (it says so by
``keeps_replies = True``), so they are pulled in name order; ``intake.py`` folds in that order
whoever came first. What can still go wrong: a grid over a network keeps nothing, which is why
``pulled_replies.py`` looks for the replies of such a one.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from server.parking import Shelf


@dataclass(frozen=True, slots=True)
class NoReply:
    """In place of a site's reply: why there is none, as a sentence."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How long a site has that is held to how long it took before.

    Attributes:
        factor: Multiple of the median of its last answers' seconds.
        least: Seconds that each site has anyway.
    """

    factor: float
    least: float

    def seconds(self, took: Sequence[float]) -> float:
        """Time that a site has whose last answers took so long."""
        return max(self.least, self.factor * median(took))


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long replies are waited for.

    Attributes:
        seconds: Time that each site has.
        started: ``time.monotonic()`` from which on it counts.
        pace: How long a site has once there are enough replies; None: as long as all.
        enough: Whether there are.
    """

    seconds: float
    started: float = field(default_factory=time.monotonic)
    pace: Pace | None = None
    enough: Callable[[], bool] = lambda: False

    def left(self) -> float:
        """Seconds until nobody is waited for any more; negative after that."""
        return self.started + self.seconds - time.monotonic()

    def late(self) -> NoReply:
        """What a site gets that has not answered by then."""
        return NoReply(f"no reply within {self.seconds:g} s.")

    def dropped(self, sites: Iterable[str], took: Mapping[str, Sequence[float]]) -> dict[str, str]:
        """Of sites that are still out, those that nobody waits for any more, with the reasons.

        Args:
            sites: Which.
            took: Site -> seconds that its last answers took.
        """
        if self.pace is None or not self.enough():
            return {}
        since = time.monotonic() - self.started
        return {
            site: f"dropped after {since:.0f} s: its last answers took {median(took[site]):.0f} s, "
            "and the others are there (federation.stragglers)."
            for site in sites
            if site in took and since >= self.pace.seconds(took[site])
        }


class Replies:
    """The replies of one phase, from a grid that keeps them until they are pulled.

    Args:
        grid: Where the sites are.
        folder: Where replies wait.
    """

    def __init__(self, grid: Grid, folder: Path) -> None:
        self._grid = grid
        self._folder = folder
        self._late: dict[str, str] = {}
        self._shelf: Shelf | None = None

    def busy(self) -> frozenset[str]:
        """Sites that still work on an instruction whose round is over."""
        for site, message_id in list(self._late.items()):
            if list(self._grid.pull_messages([message_id])):
                del self._late[site]
        return frozenset(self._late)

    def absent(self, nodes: Mapping[str, int]) -> dict[str, str]:
        """Of sites and their nodes, those that cannot be asked now, each with the reason."""
        return {}

    def returning(self, nodes: Mapping[str, int]) -> bool:
        """Whether one of those that are absent may be back in a moment."""
        return False

    def collect(
        self, messages: Mapping[str, Message], patience: Patience
    ) -> Iterator[tuple[str, Message | NoReply]]:
        """Send one message a site, then yield each site with its reply, or why it has none.

        Args:
            messages: Site name -> instruction.
            patience: How long; the reply of a site that is late is thrown away whenever it comes.
        """
        self._shelf = None  # that of the round before
        sites = sorted(messages)
        ids = self._grid.push_messages([messages[site] for site in sites])
        for site, message_id in zip(sites, ids, strict=True):
            yield site, self._reply(site, message_id, patience)

    def set_aside(self, reply: Message) -> Callable[[], Message]:
        """Let a reply wait on disk; what is returned reads it again, as often as asked."""
        self._shelf = self._shelf or Shelf(self._folder)
        content = self._shelf.put(reply.content)
        reply.content = RecordDict()  # or it would stay in memory

        def again() -> Message:
            reply.content = content()
            return reply

        return again

    def close(self) -> None:
        """Nothing to stop."""

    def _reply(self, site: str, message_id: str, patience: Patience) -> Message | NoReply:
        while True:
            # At least one pull, so that a reply that is there counts even past the deadline.
            if found := list(self._grid.pull_messages([message_id])):
                return found.pop()
            if patience.left() <= 0:
                self._late[site] = message_id
                return patience.late()
