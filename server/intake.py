"""The replies of one round: each is admitted, judged by its norm, and folded in name order.

Symptom: the first site's update is in the sum before anybody knows what the others send. Reason:
what is a usual norm is known when all replies are there, and they do not fit into memory together.
Protocol: a reply that counts whatever the others send is folded at once. From the first one of
which that is not sure, replies wait on disk until the last has come; then each is judged and
folded, still in name order, so that no bit depends on who had to wait. In the first round of a
phase all wait; after it the norms of recent rounds are known, and hardly any does. What can still
go wrong: the disk is full, which ends the round.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields

from flwr.app import Message

from echofm_core.contract import VALIDATION, Attested, Update
from echofm_core.runtime.errors import RefusedUpdateError
from server.admission import Expected, admit
from server.aggregation._api import Fold
from server.journal import UPDATE_NORM, SiteEntry
from server.norm_bound import NormBound
from server.wire import read_reply, sentence

#: Puts a reply on disk, and gives what reads it again.
SetAside = Callable[[Message], Callable[[], Message]]


class Intake:
    """Takes the replies of a round, one at a time in site-name order, then ``finish``.

    Args:
        fold: The rule's round.
        bound: What the updates' norms are held against.
        expected: Site -> what its update must be.
        set_aside: Where replies wait.
        seconds: Time that the sites had.

    Attributes:
        sites: Site -> its part, for those that counted.
        refused: Site -> why it did not.
        losses: Site -> what it found of the weights that were sent on its validation patients.
    """

    def __init__(
        self,
        fold: Fold,
        bound: NormBound,
        expected: Callable[[str], Expected],
        set_aside: SetAside,
        seconds: float,
    ) -> None:
        self._fold, self._bound, self._expected = fold, bound, expected
        self._set_aside, self._seconds = set_aside, seconds
        self._norms: dict[str, float] = {}
        self._waiting: dict[str, Callable[[], Message]] = {}
        self.sites: dict[str, SiteEntry] = {}
        self.refused: dict[str, str] = {}
        self.losses: dict[str, float] = {}

    def take(self, site: str, reply: Message | None) -> None:
        """Admit one reply, and fold it or let it wait."""
        try:
            update = read_reply(reply, Update, self._seconds)
            self._norms[site] = admit(update, self._expected(site))
        except RefusedUpdateError as error:
            self.refused[site] = sentence(error)
            return
        if not self._waiting and self._bound.surely_holds(self._norms[site]):
            self._count(update)
        elif reply is not None:
            del update  # its arrays are views of the reply's
            self._waiting[site] = self._set_aside(reply)

    def finish(self) -> None:
        """Judge and fold what waits."""
        for site in list(self._waiting):
            again = self._waiting.pop(site)
            try:
                self._bound.check(self._norms[site], self._norms.values())
            except RefusedUpdateError as error:
                self.refused[site] = sentence(error)
                continue
            self._count(read_reply(again(), Update))

    def _count(self, update: Update) -> None:
        """Fold an update in; its validation loss, if it has one, is another model's."""
        norm = self._fold.add(update.weights, update.counts, update)
        metrics = finite_metrics(update.metrics)
        if VALIDATION in update.metrics:
            self.losses[update.site] = update.metrics[VALIDATION]
            metrics.pop(VALIDATION, None)
        metrics[UPDATE_NORM] = norm
        self.sites[update.site] = SiteEntry(
            counts=dict(update.counts),
            metrics=metrics,
            bytes=sum(array.nbytes for array in {**update.weights, **update.extra}.values()),
            **{item.name: getattr(update, item.name) for item in fields(Attested)},
        )


def finite_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Those that a journal and a table can hold."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
