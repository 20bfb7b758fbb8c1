"""The replies of one round: each is admitted, judged by its norm, and folded in name order.

Symptom: the first site's update is in the sum before anybody knows what the others send. Reason:
what is a usual norm is known when all replies are there, and they do not fit into memory together.
Protocol: a reply is admitted when it comes, and folded when all before it in name order are, and it
counts whatever the sites send that are still out; until then it waits on disk. When the last has
come, what waits is judged and folded. So no bit depends on who came first, or had to wait. In the
first round of a phase about half of the sites wait; after it the norms of recent rounds are known,
and hardly any does. What can still go wrong: the disk is full, which ends the round.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields

from flwr.app import Message

from echofm_core.contract import VALIDATION, Attested, Update
from echofm_core.runtime.errors import RefusedUpdateError
from server.admission import Expected, admit
from server.aggregation._api import Fold
from server.journal import BYTES_DOWN, BYTES_UP, CONTROL_NORM, UPDATE_NORM, SiteEntry
from server.norm_bound import NormBound
from server.replies import NoReply
from server.sorted_norms import SortedNorms
from server.wire import read_reply, sentence

#: Puts a reply on disk, and gives what reads it again.
SetAside = Callable[[Message], Callable[[], Message]]


class Intake:
    """Takes the reply of each site of a round, in any order, then ``finish``.

    Args:
        fold: The rule's round.
        bounds: What the norms of updates, and of the algorithm's own arrays, are held against.
        expected: Site -> what its update must be.
        set_aside: Where replies wait.
        asked: Site of the round -> bytes of the arrays that it was sent.

    Attributes:
        sites: Site -> its part, for those that counted.
        refused: Site -> why it did not.
        codes: Site -> exit code of that error.
        losses: Site -> what it found of the weights that were sent on its validation patients.
    """

    def __init__(
        self,
        fold: Fold,
        bounds: tuple[NormBound, NormBound],
        expected: Callable[[str], Expected],
        set_aside: SetAside,
        asked: Mapping[str, int],
    ) -> None:
        self._fold, self._bounds, self._expected = fold, bounds, expected
        self._known = tuple(bound.known() for bound in bounds)
        self._set_aside = set_aside
        self._asked, self._order = asked, deque(sorted(asked))
        self._out = len(self._order)
        self._norms: dict[str, tuple[float, float]] = {}
        self._waiting: dict[str, Callable[[], Message]] = {}
        self.sites: dict[str, SiteEntry] = {}
        self.refused: dict[str, str] = {}
        self.codes: dict[str, int] = {}
        self.losses: dict[str, float] = {}

    def take(self, site: str, reply: Message | NoReply) -> None:
        """Admit the reply of a site, and fold all that need not wait any longer."""
        self._out -= 1
        try:
            update = read_reply(reply, Update)
            norms = self._norms[site] = admit(update, self._expected(site))
            for known, norm in zip(self._known, norms, strict=True):
                known.add(norm)
        except RefusedUpdateError as error:
            self._refuse(site, error)
        else:
            if site == self._order[0] and self._surely_holds(site):
                self._order.popleft()
                self._count(update)
            elif isinstance(reply, Message):
                del update  # its arrays are views of the reply's
                self._waiting[site] = self._set_aside(reply)
        while self._order and self._settled(self._order[0]):
            self._fold_waiting(self._order.popleft())

    def has(self, count: int) -> bool:
        """Whether so many updates count, whatever the sites send that are still out."""
        return len(self.sites) + sum(map(self._surely_holds, self._waiting)) >= count

    def finish(self) -> None:
        """Judge and fold what waits; every site has been taken."""
        for site in self._order:
            try:
                if site in self._waiting:
                    for bound, norm, known in self._judged(site):
                        bound.check(norm, known)
            except RefusedUpdateError as error:
                self._refuse(site, error)
                del self._waiting[site]
            self._fold_waiting(site)
        self.refused = dict(sorted(self.refused.items()))

    def _refuse(self, site: str, error: RefusedUpdateError) -> None:
        self.refused[site], self.codes[site] = sentence(error), error.cause

    def _settled(self, site: str) -> bool:
        """Whether nothing that is still out changes what becomes of a site."""
        return site in self.refused or (site in self._waiting and self._surely_holds(site))

    def _surely_holds(self, site: str) -> bool:
        judged = self._judged(site)
        return all(bound.surely_holds(norm, known, self._out) for bound, norm, known in judged)

    def _judged(self, site: str) -> Iterator[tuple[NormBound, float, SortedNorms]]:
        """Each bound with the norm of a site, and with those of all sites that are known."""
        return zip(self._bounds, self._norms[site], self._known, strict=True)

    def _fold_waiting(self, site: str) -> None:
        """Fold a site's update in, if it waits."""
        if again := self._waiting.pop(site, None):
            self._count(read_reply(again(), Update))

    def _count(self, update: Update) -> None:
        """Fold an update in; its validation loss, if it has one, is another model's."""
        norm, own = self._norms[update.site]
        self._fold.add(update.weights, update.counts, update, norm)
        metrics = finite_metrics(update.metrics)
        if VALIDATION in update.metrics:
            self.losses[update.site] = update.metrics[VALIDATION]
            metrics.pop(VALIDATION, None)
        size = sum(array.nbytes for array in {**update.weights, **update.extra}.values())
        metrics |= update.numbers
        metrics[UPDATE_NORM] = norm
        if update.extra:
            metrics[CONTROL_NORM] = own
        metrics[BYTES_DOWN], metrics[BYTES_UP] = float(self._asked[update.site]), float(size)
        self.sites[update.site] = SiteEntry(
            counts=dict(update.counts),
            metrics=metrics,
            bytes=size,
            **{item.name: getattr(update, item.name) for item in fields(Attested)},
        )


def finite_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Those that a journal and a table can hold."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
