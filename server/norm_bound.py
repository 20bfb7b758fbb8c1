"""How far an update may be from what was sent, judged by the updates of the other sites.

Symptom: one site multiplies its update by a thousand, and the mean is that site's. Reason: an
absolute bound fits one model and one learning rate, so nobody sets it. Protocol: an update counts
if its L2 norm is at most ``federation.max_norm_ratio`` times the median norm of this round's
updates and of those that counted in the last rounds, which the journal keeps; what an algorithm
sends beside the weights, SCAFFOLD's control variate, is judged likewise. What can still go wrong:
with fewer than ``LEAST`` sites or norms nothing is judged; where half of the sites are hostile the
median is theirs; and a change within the bound may still be a bad one.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from echofm_core.contract import Phase
from echofm_core.runtime.errors import DivergedError, RefusedUpdateError
from server.journal import UPDATE_NORM, Entry
from server.sorted_norms import SortedNorms

#: Fewest sites of a phase, and fewest norms, by which one is judged.
LEAST = 3
#: Rounds before this one whose norms count.
RECENT = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class NormBound:
    """The bound of one round.

    Attributes:
        ratio: Largest multiple of the median; 0: no bound.
        recent: Norms of the updates that counted in the last rounds of the phase.
        what: What is judged, as the beginning of a sentence.
    """

    ratio: float = 0.0
    recent: Sequence[float] = ()
    what: str = "the update is {} away from what was sent"

    def known(self, norms: Iterable[float] = ()) -> SortedNorms:
        """What norms are held against: recent ones, and those that the round has so far."""
        return SortedNorms([*self.recent, *norms])

    def surely_holds(self, norm: float, known: SortedNorms, out: int) -> bool:
        """Whether an update of this norm counts, whatever the round's other sites send.

        Args:
            norm: Of the update.
            known: Recent norms, and those that the round has so far.
            out: Sites of which nothing is known yet. The median is least where they send back
                what they got: a site that does not count, or not come, only moves it up.
        """
        return self._within(norm, known, out)

    def check(self, norm: float, known: SortedNorms) -> None:
        """Judge an update when all are there.

        Args:
            norm: Of the update.
            known: Recent norms, and those of all updates of the round, this one too, that are
                right but for their norm.

        Raises:
            RefusedUpdateError: It is too far from what was sent.
        """
        if not self._within(norm, known):
            usual = known.median()
            raise RefusedUpdateError(
                f"{self.what.format(f'{norm:.4g}')}, the bound is {self.ratio * usual:.4g}: "
                f"{self.ratio:g} times the median of this round and the last ones, {usual:.4g} "
                "(federation.max_norm_ratio).",
                DivergedError.exit_code,
            )

    def _within(self, norm: float, known: SortedNorms, zeros: int = 0) -> bool:
        if not self.ratio or len(known) + zeros < LEAST:
            return True
        return norm <= self.ratio * known.median(zeros)


def recent_norms(
    entries: Iterable[Entry], phase: Phase, done: int, metric: str = UPDATE_NORM, first: int = 1
) -> list[tuple[float, ...]]:
    """Norms of the updates that counted in the last rounds of a phase, ``first`` to ``done``."""
    rounds = range(max(first, done + 1 - RECENT), done + 1)
    return [norms_of(it, metric) for it in entries if it.phase is phase and it.round in rounds]


def norms_of(entry: Entry, metric: str = UPDATE_NORM) -> tuple[float, ...]:
    """Norms of the updates that counted in a round, or of their control variates' changes."""
    found = (part.metrics.get(metric, math.nan) for part in entry.sites.values())
    return tuple(norm for norm in found if math.isfinite(norm))
