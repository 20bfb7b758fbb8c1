"""The recipe of the learning benchmark: ``learning.toml``, read, and the plan of each run."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import Field

from benchmarks._tables import merged
from echofm_core.models.config import StfNetForm, StfPart
from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_mapping
from echofm_core.plan.section import Section
from echofm_core.training.config import FinetuneConfig

FILE = Path(__file__).with_name("learning.toml")


class Start(StrEnum):
    """What the encoder of a fine-tuning starts from; the others are federated pre-training."""

    RANDOM = "random"
    PIXELS = "pixels"
    CELLS = "cells"
    LATENT = "latent"


#: Federated pre-training, by what it predicts.
OBJECTIVES = (Start.PIXELS, Start.CELLS, Start.LATENT)


class Drawn(Section):
    """The ``[drawn]`` table: how many hospitals and patients."""

    draws: int = Field(ge=1)
    first_seed: int = Field(ge=0)
    """Seed of draw 0, and of the ceiling's patients; no phantom that a recipe was chosen on has
    one of the benchmark's."""
    patients: int = Field(ge=2)
    labelled: int = Field(ge=1)
    test_patients: int = Field(ge=2)
    few: float = Field(gt=0, lt=1)
    objective: Start
    """Of pre-training, that is judged over all draws, with few labels."""
    other_draws: int = Field(ge=0)
    """In which the other objectives are trained too, with few labels."""
    every_draws: int = Field(ge=0)
    """In which random weights, the judged objective and pooled data are trained on all labels."""
    ablation_draws: int = Field(ge=0)
    ceiling_hospitals: int = Field(ge=0)
    ceiling_patients: int = Field(ge=1)
    ceiling_parts: int = Field(ge=0)
    """In which they are written; 0: there is no ceiling."""

    def seed(self, draw: int) -> int:
        """Of all that is random in a draw."""
        return self.first_seed + draw

    def others(self, draw: int) -> tuple[Start, ...]:
        """Objectives that a draw trains beside the judged one."""
        return tuple(s for s in OBJECTIVES if s is not self.objective and draw < self.other_draws)

    @property
    def percents(self) -> tuple[int, int]:
        """Few labels, and all: percent of the labelled patients."""
        return round(100 * self.few), 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """All that decides a figure.

    Attributes:
        drawn: How many patients.
        plan: Of pre-training on pixels and of fine-tuning in a federation; a run takes one phase.
        cells, latent, ceiling: What they change in the plan's tables, the last in ``finetune``, the
            others in ``pretrain``.
    """

    drawn: Drawn
    plan: Plan
    cells: Mapping[str, Any]
    latent: Mapping[str, Any]
    ceiling: Mapping[str, Any]

    def pretraining(self, draw: int, start: Start) -> Plan:
        """The plan of a draw's pre-training: how models are fine-tuned does not change it."""
        own = {Start.CELLS: self.cells, Start.LATENT: self.latent}.get(start, {})
        plan = self._plan(draw, pretrain=own)
        return plan.model_copy(update={"finetune": FinetuneConfig(rounds=0)})

    def tuning(
        self, draw: int, percent: int, form: StfNetForm, without: tuple[StfPart, ...]
    ) -> Plan:
        """The plan of a fine-tuning on a share of the labels."""
        return self._plan(
            draw,
            pretrain={"rounds": 0},
            finetune={"label_fraction": percent / 100},
            model={"stf_net": form, "stf_without": without},
        )

    def ceiling_tuning(self) -> Plan:
        """The plan of the ceiling."""
        return self._plan(0, pretrain={"rounds": 0}, finetune=self.ceiling)

    def _plan(self, draw: int, **changes: Mapping[str, Any]) -> Plan:
        values = self.plan.decisive() | {"seed": self.drawn.seed(draw)}
        for table, change in changes.items():
            values[table] = {**values[table], **change}
        plan = plan_from_mapping(values, f"of draw {draw}")
        return plan.model_copy(update={"machine": self.plan.machine})


def load_recipe(*, quick: bool = False, draws: int | None = None) -> Recipe:
    """Read the recipe; ``draws`` is for fewer of them.

    Raises:
        PlanError: The plan in it is not valid.
    """
    tables = tomllib.loads(FILE.read_text(encoding="utf-8"))
    changes = tables.pop("quick")
    tables = merged(tables, changes) if quick else tables
    if draws is not None:
        tables["drawn"]["draws"] = draws
    return recipe_of(tables)


def recipe_of(tables: Mapping[str, Any]) -> Recipe:
    """A recipe from its tables: those of :class:`Recipe`, by their names."""
    return Recipe(
        drawn=Drawn.model_validate(tables["drawn"]),
        plan=plan_from_mapping({"name": "learning", **tables["plan"]}, str(FILE)),
        cells=dict(tables["cells"]),
        latent=dict(tables["latent"]),
        ceiling=dict(tables["ceiling"]),
    )
