"""What is compared, and how sure we say we are."""

from enum import StrEnum

from pydantic import Field

from echofm_core.plan.section import Section


class Baseline(StrEnum):
    """Models that stand beside the federated one in the site x model table."""

    LOCAL = "local"
    POOLED = "pooled"
    LEAVE_ONE_OUT = "leave_one_out"
    NO_PRETRAINING = "no_pretraining"


class EvaluationConfig(Section):
    """The ``[evaluation]`` table."""

    baselines: tuple[Baseline, ...] = (Baseline.LOCAL, Baseline.POOLED, Baseline.LEAVE_ONE_OUT)
    """Which reference models are trained: each site alone, pooled data, the federation without each
    site in turn, and the federation without pre-training, all else equal."""
    bootstrap: int = Field(default=1000, ge=100, le=100_000)
    """Resamples of patients behind each interval."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Coverage of each interval; 1 - confidence is the level of a table's comparisons."""
    min_patients: int = Field(default=10, ge=2, le=1_000_000)
    """A site with fewer test patients gets its values and "too few to judge", no comparison."""
