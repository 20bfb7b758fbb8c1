"""How good each round's global model is on the sites' validation patients, and what follows.

A site validates the model that it is sent, which is the result of the round before, so that a
round needs no second message: what round 3 came to is known when round 4 is over. The last result
of a phase is sent once more for it. The best round is the one with the least plain mean over the
sites, whatever their size. Two rounds are compared over the sites that report both: a round in
which the site with the largest loss was away would else be the best for that alone.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

#: Site -> loss.
Losses = Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Validation:
    """Of one stage of a phase.

    Attributes:
        every: Rounds from one validation to the next; 0: there is none.
        patience: Rounds without a better loss after which training ends; 0: never.
        first: First round of the stage; results of earlier ones are another model's.
        losses: Round -> what the sites found of its result; those of a journal to begin with.
        keep: Gets a round and its losses as soon as they are known.
    """

    every: int = 0
    patience: int = 0
    first: int = 1
    losses: dict[int, Losses] = field(default_factory=dict)
    keep: Callable[[int, Losses], None] = lambda number, losses: None

    def due(self, number: int, *, last: bool = False) -> bool:
        """Whether the result of a round is to be validated, and is not yet."""
        if number in self.losses or not self.every or number < self.first:
            return False
        if last:  # not where sites were asked before, and none has validation patients
            return bool(self.losses) or number - self.first < self.every
        return number % self.every == 0

    def add(self, number: int, losses: Losses) -> None:
        """Take what sites reported of the result of a round; without any, nothing happens."""
        if losses:
            self.losses[number] = losses
            self.keep(number, losses)

    def best(self, before: float = math.inf) -> int:
        """Round with the least loss, the earlier of two; 0 without any that is finite.

        Each round is held against the best of those before it, whose checkpoint is kept.
        """
        best = 0
        for number, losses in sorted(self.losses.items()):
            finite = number < before and math.isfinite(mean(losses))
            if finite and (not best or _better(losses, self.losses[best])):
                best = number
        return best

    def exhausted(self, done: int) -> bool:
        """Whether training ends after a number of rounds.

        The last of them does not count: its own result is not known yet when this is asked first,
        and a run that is gone on with has to find the same.
        """
        newest = max((number for number in self.losses if number < done), default=0)
        return 0 < self.patience <= newest - self.best(done)


def _better(losses: Losses, others: Losses) -> bool:
    """Whether losses are less than others, over the sites that both are of; of none, over all."""
    both = losses.keys() & others.keys()
    one, other = ({site: it[site] for site in sorted(both) or it} for it in (losses, others))
    return mean(one) < mean(other)


def mean(losses: Losses) -> float:
    """Over the sites, all alike; not finite where one is not, NaN without any."""
    return sum(losses.values()) / len(losses) if losses else math.nan
