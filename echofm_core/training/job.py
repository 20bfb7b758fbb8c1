"""One site's work of one round, as both training loops (plain and private) take it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from echofm_core.contract import Phase
from echofm_core.errors import EmptySiteError, TrainingError
from echofm_core.randomness import stream
from echofm_core.training.config import PhaseConfig
from echofm_core.training.context import LocalContext
from echofm_core.training.losses import Losses
from echofm_core.training.moments import KeptMoments
from echofm_core.training.schedule import RoundSchedule

Indices = NDArray[np.int64]
#: Draws a window of each named clip with the generator and returns the model's losses on them.
Objective = Callable[[Indices, np.random.Generator], Losses]


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalJob:
    """What to train, on what, how.

    Attributes:
        phase: Training phase.
        model: On its device; trainable parameters are those with ``requires_grad``.
        objective: Losses of clips, which are named by their row.
        clips: Rows that take part, (N,).
        manifest: All of the site's rows for this phase.
        config: The phase's table of the plan.
        context: Where in the federation this stands.
    """

    phase: Phase
    model: nn.Module
    objective: Objective
    clips: Indices
    manifest: pd.DataFrame
    config: PhaseConfig
    context: LocalContext

    def __post_init__(self) -> None:
        if not len(self.clips):
            raise EmptySiteError(
                f"site {self.context.site} has no clip to train on in phase {self.phase}; leave "
                "it out of this phase, or check its labels and views."
            )

    def stream(self, purpose: str) -> np.random.Generator:
        """Random stream of this site, round and phase."""
        context = self.context
        return stream(context.seed, context.site, context.round, f"{self.phase}.{purpose}")

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of a step of this round."""
        config = self.config
        schedule = RoundSchedule(
            peak=config.learning_rate,
            warmup_rounds=config.warmup_rounds,
            rounds=self.context.rounds,
        )
        return schedule.of_step(self.context.round, step, steps)

    def moments(self) -> KeptMoments | None:
        """Where AdamW's moments are kept; None when each round starts afresh.

        Raises:
            TrainingError: They shall be kept, but the site has no state folder.
        """
        if not self.config.keep_optimizer:
            return None
        if self.context.state is None:
            raise TrainingError(
                f"site {self.context.site} shall keep its optimizer between rounds "
                f"({self.phase}.keep_optimizer), but has no state folder; give it one."
            )
        return KeptMoments(self.context.state, self.phase, self.context.round)


def patient_numbers(manifest: pd.DataFrame) -> Indices:
    """Number from 0 of each row's patient, in order of first appearance."""
    patients = manifest["dataset"].str.cat(manifest["patient_id"], sep="\x1f")
    return pd.factorize(patients)[0].astype(np.int64)
