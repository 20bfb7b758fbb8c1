"""The arms of the federation benchmark: how long a site trains, and how much it counts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path

from echofm_core.plan.document import Plan
from echofm_core.plan.federation import FederationConfig, TrunkWeights
from echofm_core.plan.load import load_plan, plan_from_mapping

#: Plan of all arms.
RECIPE = Path(__file__).with_name("federation_weights.toml")
#: Seeds of weights, masks, order and windows; the patients are the same in all.
SEEDS = (7, 8, 9)
#: Steps of each of the three sites with labels in a round, and rounds: together about as many steps
#: as one pass at each takes in the recipe's rounds.
STEPS, ROUNDS = 12, 32
#: The same work in longer and fewer rounds.
LONG = 23
#: The site that alone has grades of aortic stenosis.
STENOSIS = "tmed2"


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """One training run.

    Attributes:
        seed: Of the plan.
        steps: At every site in a round; 0: one pass over its clips.
        rounds: Of fine-tuning; 0: those of the recipe.
        weights: How a site counts in the shared trunk.
        alone: No federation: ``STENOSIS`` pre-trains and fine-tunes on its own clips.
    """

    seed: int
    steps: int
    rounds: int = 0
    weights: TrunkWeights = TrunkWeights.CLIPS
    alone: bool = False

    @property
    def name(self) -> str:
        """All but the seed."""
        rounds = self.rounds or recipe().finetune.rounds
        work = f"{rounds} x {f'{self.steps} steps' if self.steps else 'one pass'}"
        return f"{STENOSIS} alone, {work}" if self.alone else f"{work}, {self.weights.value}"

    def plan(self) -> Plan:
        """Of the fine-tuning of a federation, or of both phases of a site alone."""
        work = {"local_steps": self.steps} if self.steps else {"local_epochs": 1}
        work |= {"rounds": self.rounds} if self.rounds else {}
        federation = {"trunk_weights": self.weights}
        if self.alone:
            return _changed(self.seed, finetune=work)
        return _changed(self.seed, pretrain={"rounds": 0}, finetune=work, federation=federation)


def chosen(seed: int) -> Arm:
    """What a plan does by default, with the demo's rounds."""
    return Arm(seed=seed, steps=STEPS, rounds=ROUNDS, weights=FederationConfig().trunk_weights)


def rivals() -> tuple[str, ...]:
    """Arms that the chosen one is held to: the site alone, and what was shipped before."""
    return Arm(seed=0, steps=STEPS, rounds=ROUNDS, alone=True).name, Arm(seed=0, steps=0).name


def pretraining(seed: int) -> Plan:
    """Of the one federated pre-training that all federated arms of a seed start from."""
    return _changed(seed, finetune={"rounds": 0})


def all_arms(seeds: tuple[int, ...] = SEEDS) -> list[Arm]:
    """Seed by seed: the site alone, work x weights, and longer rounds."""
    works = ((STEPS, ROUNDS), (0, 0))
    return [
        arm
        for seed in seeds
        for arm in (
            *(Arm(seed=seed, steps=steps, rounds=rounds, alone=True) for steps, rounds in works),
            *(
                Arm(seed=seed, steps=steps, rounds=rounds, weights=weights)
                for (steps, rounds), weights in product(works, TrunkWeights)
            ),
            Arm(seed=seed, steps=LONG, weights=TrunkWeights.EQUAL),
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
