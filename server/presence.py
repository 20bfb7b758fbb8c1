"""Which nodes are there, so that nobody waits for one that has died.

Flower lists a node as long as it sends heartbeats: 60 s after the last one it is gone. It never
gives a node the same message twice, so one that has come back in between does not answer what it
was asked before.
"""

import math
import threading
import time
from datetime import UTC, datetime

from flwr.serverapp import Grid

#: Seconds between two looks at the list.
WATCH = 3.0
#: Seconds for which the next round waits for a node that has just gone. One that was killed and
#: started again at once is let in when its last heartbeat is 60 s old and a little: about when it
#: is found gone, and so just after a round that would begin without it.
RETURN = 12.0


class Presence:
    """The list of nodes of a grid, looked at every few seconds; for several threads.

    Args:
        grid: Whose nodes.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._listed: dict[int, str] = {}
        self._since: dict[int, tuple[datetime, float]] = {}
        self._looked = -WATCH
        self._lock = threading.Lock()

    def look(self) -> None:
        """Look again, if the last time is long enough ago."""
        with self._lock:
            if time.monotonic() - self._looked < WATCH:
                return
            self._listed = {node.node_id: node.last_activated_at for node in self._grid.get_nodes()}
            self._looked = time.monotonic()
            for node in self._listed:
                self._since.pop(node, None)

    def session(self, node: int) -> str:
        """What changes whenever a node comes back; "" for one that is not there."""
        return self._listed.get(node, "")

    def gone(self, node: int) -> str:
        """Since when a node is gone, as a sentence; "" for one that is there."""
        if node in self._listed:
            return ""
        since, _ = self._since.setdefault(node, (datetime.now(UTC), time.monotonic()))
        return f"its node is gone since {since:%Y-%m-%d %H:%M:%S} UTC."

    def returning(self, node: int) -> bool:
        """Whether a node has gone so lately that, started again, it may be back in a moment."""
        _, since = self._since.get(node, (None, -math.inf))
        return time.monotonic() - since < RETURN

    def mark_gone(self, node: int) -> str:
        """As :meth:`gone`, where Flower says so before its list does."""
        with self._lock:
            self._listed.pop(node, None)
        return self.gone(node)

    def lost(self, node: int, session: str) -> str:
        """Why a question from a session of a node is never answered; "" where it may be."""
        if why := self.gone(node):
            return why
        if self.session(node) == session:
            return ""
        return "its node was gone meanwhile; it takes part again in the next round."
