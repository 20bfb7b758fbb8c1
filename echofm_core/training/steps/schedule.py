"""Learning rate over global rounds: one curve for the whole phase, never restarted."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundSchedule:
    """Linear warm-up, then cosine to zero, as a function of progress in global rounds.

    Sites differ in steps a round, so progress and not the step count is the clock: at any moment
    of a round all sites stand at the same place of the curve.

    Attributes:
        peak: Learning rate at the end of the warm-up.
        warmup_rounds: Length of the warm-up, in rounds; may be a fraction.
        rounds: Length of the phase, in rounds.
    """

    peak: float
    warmup_rounds: float
    rounds: int

    def at(self, progress: float) -> float:
        """Learning rate at a progress in [0, rounds]."""
        if progress < self.warmup_rounds:
            return self.peak * progress / self.warmup_rounds
        rest = self.rounds - self.warmup_rounds
        done = (progress - self.warmup_rounds) / rest if rest > 0 else 0.0
        return self.peak * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))

    def of_step(self, round_: int, step: int, steps: int) -> float:
        """Learning rate of one step: the curve at the step's middle, hence never zero.

        Args:
            round_: Global round, from 1.
            step: Step within the round, from 0.
            steps: Steps of this site's round.
        """
        return self.at(round_ - 1 + (step + 0.5) / steps)
