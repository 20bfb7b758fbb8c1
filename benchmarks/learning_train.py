"""Trainings of the learning benchmark, through the product's own server, client and engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.learning_data import patients_at
from benchmarks.learning_pieces import Patients, Pool, Pretraining, Tuning, encoder_of
from benchmarks.learning_places import place_of
from benchmarks.learning_recipe import Recipe
from echofm_core.contract import Phase, Weights
from echofm_core.data.manifest import Split
from echofm_core.data.prepare import ONE_SITE, Prepared
from echofm_core.evaluation.model_names import ALONE, FEDERATED
from echofm_core.models.saved import load_weights
from echofm_core.plan.document import Plan
from simulations.arm_training import Training
from simulations.arms import Arm
from simulations.engine import Engine
from simulations.prepare import save_sites


def train(
    piece: Pretraining | Tuning, recipe: Recipe, folder: Path, tick: Callable[[object], None]
) -> None:
    """Run a piece, or go on with it."""
    place = place_of(piece, recipe, folder)
    start: Weights = {}
    if isinstance(piece, Pretraining):
        plan = recipe.pretraining(piece.draw, piece.start)
    elif piece.pool is Pool.CEILING:
        plan = recipe.ceiling_tuning()
    else:
        plan = recipe.tuning(piece.draw, piece.percent, piece.form, piece.without)
        for need in encoder_of(piece.draw, piece.start):
            start = load_weights(place_of(need, recipe, folder))
    data = _data(piece, recipe, folder)
    arm, data = arm_of(piece, plan, data)
    save_sites(data, plan, place)
    with Engine(execution=plan.machine) as engine:
        Training(place, plan, data, engine, True, None, start).train(arm, tick)


def arm_of(piece: Pretraining | Tuning, plan: Plan, data: Prepared) -> tuple[Arm, Prepared]:
    """A federation of all sites, or of one that has all their data; nobody is tested within.

    Pooled data take as many steps in a round as the sites together, where steps are counted, so
    that as many windows are seen.
    """
    sites = data.site_names()
    pooled = isinstance(piece, Tuning) and piece.pool is not Pool.FEDERATED
    if pooled:
        data = replace(data, manifest=data.manifest.assign(site=ONE_SITE))
    members, name = tuple(data.site_names()), ALONE if pooled else FEDERATED
    arm = Arm(
        name=name,
        model=name,
        train=members,
        test=(),
        tasks=plan.finetune.tasks,
        trainers=len(members),
        pools={Phase.FINETUNE: len(sites)} if pooled else {},
    )
    return arm, data


def _data(piece: Pretraining | Tuning, recipe: Recipe, folder: Path) -> Prepared:
    """The training patients of a piece."""
    needs = [need for need in piece.needs(recipe) if isinstance(need, Patients)]
    places = [place_of(need, recipe, folder) for need in needs]
    stores = place_of(piece, recipe, folder) / "stores" if len(places) > 1 else None
    return patients_at(places, Split.TRAIN, stores)
