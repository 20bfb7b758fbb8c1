"""Replies of a round, handed out one at a time and in site-name order, whoever came first.

Symptom: bits that depend on who answers first. Reason: sums of floats depend on their order.
Protocol: a grid inside this process keeps replies itself until they are pulled (it says so by
``keeps_replies = True``), so pulling in order is enough. What can still go wrong: a grid over a
network keeps nothing, which is why ``pulled_replies.py`` looks for the replies of such a one.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from flwr.app import Message
from flwr.serverapp import Grid


class Replies:
    """The replies of one phase, from a grid that keeps them until they are pulled."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._push: Callable[[list[Message]], Iterable[str]] = grid.push_messages
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
        for site, message_id in self._send(messages).items():
            yield site, self._reply(site, message_id, deadline)

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
