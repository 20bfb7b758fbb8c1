"""The ``[study]`` table: which methods and seeds a study compares. No part of a plan's hash."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field, JsonValue, field_validator, model_validator

from echofm_core.plan.complaints import unknown_word
from echofm_core.plan.federation import Aggregation
from echofm_core.plan.protocol import ProtocolName
from echofm_core.plan.section import Section
from echofm_core.tasks import Task

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
    FEDIT = "fedit"
    FFA_LORA = "ffa_lora"
    FEDEX_LORA = "fedex_lora"
    DUAL_LORA = "dual_lora"


#: Tables whose keys a study may vary. Not ``data``: clips are decoded once for all of a study.
VARIABLE = ("model", "pretrain", "finetune", "personal", "federation", "privacy", "protocol")

#: Most settings of a method that a study may try.
MOST_TUNED = 10

#: Every word that ``study.methods`` may hold.
WORDS = (REVIEWER, *(item.value for item in Training), *(item.value for item in Aggregation))


class Published(Section):
    """A number that somebody has published, to be shown beside what a study measures."""

    task: Task
    metric: str
    """Metric of `scores.parquet`, e.g. `mae`, `r2`, `pearson`, `auc`, `accuracy`, `f1_negative`."""
    what: str
    """The metric in words, with its convention."""
    value: float | None = Field(default=None, ge=-1e6, le=1e6)
    """In our unit. Left out: none is known, and ours stands alone."""
    site: str = ""
    """Site of ours that is shown beside it; empty: all test patients together."""
    source: str = ""
    """Model, data and paper."""


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
    tune: int = Field(default=0, ge=0, le=MOST_TUNED)
    """Settings that every method gets: the plan's own values first, then others of the list that
    the method has, a training each with the plan's seed. The one that does best on validation
    patients of the sites that train is the method's, for all seeds. Not under differential privacy.
    0: nothing is tuned, and every method runs with the plan's values."""
    vary: dict[str, tuple[JsonValue, ...]] = Field(default={})
    """Keys of the plan, as `TABLE.KEY`, and values to repeat it all with, e.g.
    `"finetune.label_fraction" = [0.1, 1.0]`; of several keys, all combinations. Or keys that belong
    together, as `TABLE`: `model = [{stf_net = "mean_pool"}, {stf_without = ["joint"]}]`. Keys of
    `model`, `pretrain`, `finetune`, `personal`, `federation`, `privacy` and `protocol`."""
    published: tuple[Published, ...] = ()
    """Published numbers, each a table `[[study.published]]` with `task`, `metric`, `what`, `value`,
    `source` and `site`: the report shows them beside what was measured here, and compares
    nothing."""

    @field_validator("vary")
    @classmethod
    def _are_keys(cls, vary: dict[str, tuple[JsonValue, ...]]) -> dict[str, tuple[JsonValue, ...]]:
        for key, values in vary.items():
            table, _, name = key.partition(".")
            if table not in VARIABLE or not (name or all(isinstance(one, dict) for one in values)):
                raise ValueError(
                    f"{key!r} is no key that a study can vary: write TABLE.KEY, or TABLE and "
                    f"tables of its keys, of {', '.join(VARIABLE)}"
                )
            if not values or any(value in values[:number] for number, value in enumerate(values)):
                raise ValueError(f"{key!r} wants a list of values that are unlike each other")
        return vary

    @field_validator("methods")
    @classmethod
    def _are_methods(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        for method in methods:
            if method not in WORDS:
                raise ValueError(unknown_word("method", method, WORDS))
        return methods

    @model_validator(mode="after")
    def _tunes_on_nobody_of_the_test(self) -> StudyConfig:
        if self.tune and self.resplit:
            raise ValueError(
                f"study.tune is {self.tune} and study.resplit is true, but then the validation "
                "patients of one seed, by whom settings are chosen, are test patients of another: "
                "set one of them otherwise"
            )
        return self

    @property
    def asked(self) -> bool:
        """Whether a plan asks for a study in place of one run."""
        return bool(self.methods or self.seeds or self.protocols or self.vary or self.tune)
