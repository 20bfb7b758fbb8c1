"""The ``[study]`` table: which methods and seeds a study compares. No part of a plan's hash."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field, field_validator

from echofm_core.plan.complaints import unknown_word
from echofm_core.plan.federation import Aggregation
from echofm_core.plan.protocol import ProtocolName
from echofm_core.plan.section import Section

#: Name of the set of methods that a careful reviewer asks for.
REVIEWER = "reviewer"


class Training(StrEnum):
    """Methods that are no aggregation rule of :class:`~echofm_core.plan.federation.Aggregation`."""

    LOCAL = "local"
    POOLED = "pooled"
    ENSEMBLE = "ensemble"
    FROZEN = "frozen"
    ONE_SHOT = "one_shot"
    LEAVE_ONE_OUT = "leave_one_out"
    NO_PRETRAINING = "no_pretraining"
    FEDPER = "fedper"
    FEDREP = "fedrep"
    LOCAL_NORMS = "local_norms"
    DITTO = "ditto"
    LAST_STEP = "last_step"


#: Every word that ``study.methods`` may hold.
WORDS = (REVIEWER, *(item.value for item in Training), *(item.value for item in Aggregation))


class StudyConfig(Section):
    """The ``[study]`` table."""

    methods: tuple[str, ...] = ()
    """Methods to compare, or a set of them: ``reviewer`` is local, pooled, ensemble, frozen,
    one_shot, fedavg, fedprox, scaffold, fedadam, local_norms, fedper and ditto. `echofm simulate
    --list` explains each. Empty, with seeds or protocols: the plan's own rule of averaging and its
    baselines. All empty: one run, no study."""
    seeds: int = Field(default=0, ge=0, le=1000)
    """Each method is trained so many times, with the plan's seed and those that follow it: other
    first weights, order of clips, augmentations and masks. 0: once, or no study."""
    protocols: tuple[ProtocolName, ...] = ()
    """Rules of sites to repeat it all under, in place of ``protocol.name``."""
    resplit: bool = False
    """Each seed draws its patients for training, validation and test anew where a data set has no
    official split. Otherwise all seeds have the patients of the plan's seed, and scores have an
    interval over patients for the mean over seeds."""

    @field_validator("methods")
    @classmethod
    def _are_methods(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        for method in methods:
            if method not in WORDS:
                raise ValueError(unknown_word("method", method, WORDS))
        return methods

    @property
    def asked(self) -> bool:
        """Whether a plan asks for a study in place of one run."""
        return bool(self.methods or self.seeds or self.protocols)
