"""The arms of the federation benchmark: how long a site trains, and how much it counts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path

from echofm_core.plan import Plan, TrunkWeights, load_plan, plan_from_mapping

#: Plan of all arms.
RECIPE = Path(__file__).with_name("federation_weights.toml")
#: Seeds of weights, masks, order and windows; the patients are the same in all.
SEEDS = (7, 8, 9)
#: Steps of each of the three sites with labels: together as many as one pass at each takes.
STEPS = 23
#: The site that alone has grades of aortic stenosis.
STENOSIS = "tmed2"


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """One training run.

    Attributes:
        seed: Of the plan.
        even: As many steps at every site, else one pass over its clips.
        weights: How a site counts in the shared trunk.
        alone: No federation: ``STENOSIS`` pre-trains and fine-tunes on its own clips.
    """

    seed: int
    even: bool
    weights: TrunkWeights = TrunkWeights.CLIPS
    alone: bool = False

    @property
    def name(self) -> str:
        """All but the seed."""
        work = f"{STEPS} steps" if self.even else "one pass"
        return f"{STENOSIS} alone, {work}" if self.alone else f"{work}, {self.weights.value}"

    def plan(self) -> Plan:
        """Of the fine-tuning of a federation, or of both phases of a site alone."""
        work = {"local_steps": STEPS} if self.even else {"local_epochs": 1}
        federation = {"trunk_weights": self.weights}
        if self.alone:
            return _changed(self.seed, finetune=work)
        return _changed(self.seed, pretrain={"rounds": 0}, finetune=work, federation=federation)


def pretraining(seed: int) -> Plan:
    """Of the one federated pre-training that all federated arms of a seed start from."""
    return _changed(seed, finetune={"rounds": 0})


def all_arms(seeds: tuple[int, ...] = SEEDS) -> list[Arm]:
    """Seed by seed: the site alone, then work x weights."""
    return [
        arm
        for seed in seeds
        for arm in (
            *(Arm(seed=seed, even=even, alone=True) for even in (False, True)),
            *(
                Arm(seed=seed, even=even, weights=weights)
                for even, weights in product((False, True), TrunkWeights)
            ),
        )
    ]


def recipe() -> Plan:
    """The plan that arms change."""
    return load_plan(RECIPE)


def _changed(seed: int, **tables: dict[str, object]) -> Plan:
    base = recipe()
    values = base.decisive() | {"seed": seed}
    for name, table in tables.items():
        before = {key: value for key, value in values[name].items() if not key.startswith("local_")}
        values[name] = {**before, **table}
    plan = plan_from_mapping(values, "of an arm")
    return plan.model_copy(update={"machine": base.machine})
