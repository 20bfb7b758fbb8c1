"""The stages of a phase: consecutive rounds that train one model.

Fine-tuning is one stage, and so is pre-training on pixels. Pre-training on latent targets is two:
its teacher, then its student. What one round hands on to the next (moments, a site's own decoder,
control variates, the state of an aggregation rule, usual norms, validation losses, the schedule of
the learning rate) is of one model, and does not pass from one stage into another.
"""

from dataclasses import dataclass
from enum import StrEnum


class Target(StrEnum):
    """What pre-training predicts at hidden positions."""

    PIXELS = "pixels"
    LATENT = "latent"


@dataclass(frozen=True, slots=True)
class Stage:
    """Rounds ``first`` to ``last`` of a phase, counted from 1.

    Attributes:
        latent: The features of a frozen teacher are predicted, which is the encoder that the stage
            before ended with.
    """

    first: int
    last: int
    latent: bool = False
