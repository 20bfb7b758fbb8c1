"""The two studies of the federation benchmark, as plans: ``recipe.toml``, read."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._tables import merged
from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_mapping

FILE = Path(__file__).with_name("recipe.toml")
#: Names of the studies, and of their folders.
LEFT_OUT, DEALT = "left_out", "dealt"


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """All that decides a figure.

    Attributes:
        left_out: Plan of the study in which institutions are left out in turn.
        dealt: Plan of the study of patients that are dealt to sites with unlike labels.
        folder: Of phantoms, decoded clips and both studies.
    """

    left_out: Plan
    dealt: Plan
    folder: Path

    @property
    def studies(self) -> dict[Path, Plan]:
        """Folder of each study -> its plan."""
        return {self.folder / LEFT_OUT: self.left_out, self.folder / DEALT: self.dealt}

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of both studies."""
        first = self.left_out.seed
        return tuple(range(first, first + self.left_out.study.seeds))


def load_recipe(
    folder: Path, *, quick: bool = False, seeds: int | None = None, workers: int = 2
) -> Recipe:
    """Read the recipe.

    Args:
        folder: Gets all that the benchmark writes.
        quick: The small one.
        seeds: In place of the recipe's.
        workers: Sites that train at a time, a process of one thread each.

    Raises:
        PlanError: A plan in it is not valid.
    """
    tables = tomllib.loads(FILE.read_text(encoding="utf-8"))
    changes = tables.pop("quick")
    tables = merged(tables, changes) if quick else tables
    if seeds is not None:
        tables["plan"]["study"]["seeds"] = seeds
    return recipe_of(tables, folder, workers)


def recipe_of(tables: Mapping[str, Any], folder: Path, workers: int) -> Recipe:
    """A recipe from its tables ``plan``, which both studies share, ``left_out`` and ``dealt``."""
    folder = folder.resolve()
    phantoms = folder / "phantoms"
    machine = {
        "roots": [str(phantoms / "hospitals"), str(phantoms / "public")],
        "cache": str(folder / "cache"),
        "workers": workers,
        "phantoms": {"folder": str(phantoms)},
    }

    def plan(name: str) -> Plan:
        own = merged(merged(tables["plan"], tables[name]), {"machine": machine})
        return plan_from_mapping({"name": f"federation_{name}", **own}, str(FILE))

    return Recipe(left_out=plan(LEFT_OUT), dealt=plan(DEALT), folder=folder)
