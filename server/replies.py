"""Replies of a round, handed out one at a time and in site-name order, whoever came first.

Symptom: bits that depend on who answers first. Reason: sums of floats depend on their order.
Protocol: a grid inside this process keeps replies itself until they are pulled (it says so by
``keeps_replies = True``), so pulling in order is enough. What can still go wrong: a grid over a
network keeps nothing, which is why ``pulled_replies.py`` looks for the replies of such a one.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from server.parking import Shelf


class Replies:
    """The replies of one phase, from a grid that keeps them until they are pulled.

    Args:
        grid: Where the sites are.
        folder: Where replies wait.
    """

    def __init__(self, grid: Grid, folder: Path) -> None:
        self._grid = grid
        self._folder = folder
        self._push: Callable[[list[Message]], Iterable[str]] = grid.push_messages
        self._late: dict[str, str] = {}
        self._shelf: Shelf | None = None

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
        self._shelf = None  # that of the round before
        for site, message_id in self._send(messages).items():
            yield site, self._reply(site, message_id, deadline)

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

    def _send(self, messages: Mapping[str, Message]) -> dict[str, str]:
        """Site name, in order -> message id, which is how a reply finds its site."""
        sites = sorted(messages)
        ids = self._push([messages[site] for site in sites])
        return dict(zip(sites, ids, strict=True))

    def _reply(self, site: str, message_id: str, deadline: float) -> Message | None:
        while True:
            # At least one pull, so that a reply that is there counts even past the deadline.
            if found := list(self._grid.pull_messages([message_id])):
                return found.pop()
            if time.monotonic() >= deadline:
                self._late[site] = message_id
                return None
