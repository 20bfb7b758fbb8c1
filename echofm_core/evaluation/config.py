"""What is compared, and how sure we say we are."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from echofm_core.plan.section import Section


class Baseline(StrEnum):
    """Models that stand beside the federated one in the site x model table."""

    LOCAL = "local"
    POOLED = "pooled"
    LEAVE_ONE_OUT = "leave_one_out"
    NO_PRETRAINING = "no_pretraining"


Shots = Annotated[int, Field(ge=0, le=100_000)]


class EvaluationConfig(Section):
    """The ``[evaluation]`` table."""

    later: ClassVar = frozenset({"few_shot", "few_shot_rounds", "few_shot_learning_rate"})

    baselines: tuple[Baseline, ...] = (Baseline.LOCAL, Baseline.POOLED, Baseline.LEAVE_ONE_OUT)
    """Which reference models are trained: each site alone, pooled data, the federation without each
    site in turn, and the federation without pre-training, all else equal."""
    bootstrap: int = Field(default=1000, ge=100, le=100_000)
    """Resamples of patients behind each interval."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Coverage of each interval; 1 - confidence is the level of a table's comparisons."""
    few_shot: tuple[Shots, ...] = ()
    """Training patients of a site that no model has seen, e.g. `[0, 5, 10, 20, 50]`: the shipped
    model is fine-tuned on so many of them and tested there, for each site left out in turn and each
    of `protocol.unseen`. The fewer are among the more; 0 is the model as it is. In simulations."""
    few_shot_rounds: int = Field(default=0, ge=0, le=100_000)
    """Rounds of that, by the other keys of `finetune` at that site alone; 0: those of it too."""
    few_shot_learning_rate: float = Field(default=0.0, ge=0, le=10)
    """Peak rate of that; 0: that of `finetune`. A rate that trains a model from random weights can
    undo, on a few patients, what it has learnt."""
    min_patients: int = Field(default=10, ge=2, le=1_000_000)
    """A site with fewer test patients gets its values and "too few to judge", no comparison."""

    @field_validator("few_shot")
    @classmethod
    def _ascend(cls, shots: tuple[int, ...]) -> tuple[int, ...]:
        if list(shots) != sorted(set(shots)):
            raise ValueError(f"{list(shots)} does not ascend: write each number once, least first")
        return shots
