"""The arms of the learning benchmark: from what each starts, what it trains, on how many labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from pathlib import Path

from echofm_core.models.config import StfNetForm
from echofm_core.plan.document import Plan
from echofm_core.plan.load import load_plan, plan_from_mapping
from echofm_core.training.config import PretrainConfig, TuneMode

#: Plan of all arms; an arm changes seed, fusion network, mode and passes alone.
RECIPE = Path(__file__).with_name("learning.toml")
FORMS = (StfNetForm.MEAN_POOL, StfNetForm.COMPACT, StfNetForm.PUBLISHED)
#: Percent of the training patients with labels.
FRACTIONS = (5, 10, 25, 50, 100)
QUICK_FRACTIONS = (10, 100)
#: Shares that few labels are judged by, and the seeds of their arms with the compact STF-Net, at
#: least: who has labels moves a figure more than all else where few have.
JUDGED_FRACTIONS = (5, 10, 100)
DRAWS = 8


class Start(StrEnum):
    """Where the encoder comes from."""

    RANDOM = "random"
    MAE = "mae"


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """One fine-tuning run.

    Attributes:
        seed: Of weights, order, masks, and of who has labels.
        start: Where the encoder comes from.
        form: Fusion network.
        frozen: The encoder stays as it was; what stands behind it is trained.
        percent: Share of training patients with labels.
    """

    seed: int
    start: Start
    form: StfNetForm
    frozen: bool = False
    percent: int = 100

    @property
    def name(self) -> str:
        """All but the seed."""
        return f"{self.start}-{self.form}-{'frozen' if self.frozen else 'full'}-{self.percent}"

    @property
    def compared(self) -> bool:
        """Is it one of those that shares of labels are compared by?"""
        return self.form is StfNetForm.COMPACT and not self.frozen

    @property
    def mode(self) -> TuneMode:
        """What is trained.

        Behind a frozen encoder the fusion network is trained too, where there is one: with random
        weights it would say nothing of itself.
        """
        if not self.frozen:
            return TuneMode.FULL
        return TuneMode.LINEAR if self.form is StfNetForm.MEAN_POOL else TuneMode.STF_PROBE

    def plan(self, recipe: Plan) -> Plan:
        """The recipe with what the arm changes; all arms take the same number of steps."""
        passes = recipe.finetune.local_epochs * max(FRACTIONS) // self.percent
        tune: dict[str, object] = {"mode": self.mode, "local_epochs": passes}
        tables: dict[str, dict[str, object]] = {"model": {"stf_net": self.form}, "finetune": tune}
        if self.start is Start.RANDOM:  # another pre-training is no other plan of these
            tables["pretrain"] = PretrainConfig(rounds=0).model_dump(mode="json")
        return _changed(recipe, self.seed, **tables)


def pretraining(recipe: Plan, seed: int) -> Plan:
    """The plan of the one pre-training that all MAE arms of a seed start from."""
    return _changed(recipe, seed)


def recipe() -> Plan:
    """The plan of all arms."""
    return load_plan(RECIPE)


def whole_table(seeds: Iterable[int]) -> list[Arm]:
    """Every arm with every seed, and those that few labels are judged by with more of them."""
    arms = all_arms(seeds)
    more = all_arms(range(max(arm.seed for arm in arms) + 1, DRAWS))
    return arms + [arm for arm in more if arm.compared and arm.percent in JUDGED_FRACTIONS]


def all_arms(seeds: Iterable[int]) -> list[Arm]:
    """Every arm, seed by seed."""
    return [
        Arm(seed=seed, start=start, form=form, frozen=frozen, percent=percent)
        for seed in seeds
        for form, frozen, percent in _designs()
        for start in Start
    ]


def few_arms(seeds: Iterable[int]) -> list[Arm]:
    """What ``--quick`` trains: no frozen encoder, no published shape, one smaller share."""
    return [
        arm
        for arm in all_arms(seeds)
        if arm.form in FORMS[:2] and not arm.frozen and arm.percent in QUICK_FRACTIONS
    ]


def _designs() -> Iterator[tuple[StfNetForm, bool, int]]:
    """Fusion network, frozen or not, and share of labels, of both starts."""
    for form, frozen in product(FORMS, (False, True)):
        yield form, frozen, max(FRACTIONS)
    for percent in FRACTIONS[:-1]:
        yield StfNetForm.COMPACT, False, percent


def _changed(recipe: Plan, seed: int, **tables: dict[str, object]) -> Plan:
    values = recipe.decisive() | {"seed": seed}
    for name, table in tables.items():
        values[name] = {**values[name], **table}
    plan = plan_from_mapping(values, "of an arm")
    return plan.model_copy(update={"machine": recipe.machine})
