"""Trains what the federation benchmark compares, as studies of the product; and its estimate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from benchmarks.federation.plans import DEALT, Recipe
from benchmarks.federation.predictions import Key, Predictions, few_shot_name
from echofm_core.evaluation.model_names import FEDERATED
from echofm_core.phantom.missing import write_missing
from echofm_core.plan.federation import Aggregation
from echofm_core.report.run_files import read_run
from echofm_core.runtime.sessions import earlier_seconds
from echofm_core.tasks import Task
from simulations.study.cell_outcome import shot_rows
from simulations.study.cells import Cell, cells
from simulations.study.dry_run import dry_run
from simulations.study.folder import RESULT
from simulations.study.run import run_study


def train(recipe: Recipe) -> None:
    """Write the phantoms and do what is left of both studies; killed and called again, it goes on.

    Raises:
        ResumeError: The folder holds studies of another recipe.
    """
    _write_phantoms(recipe)
    for folder, plan in recipe.studies.items():
        run_study(plan, folder, resume=True)


def estimate(recipe: Recipe) -> float:
    """Print what both studies will do; seconds that they take on all workers.

    Nothing is trained. Phantoms are written where they are missing, which is not in the seconds.
    """
    _write_phantoms(recipe)
    seconds = 0.0
    for folder, plan in recipe.studies.items():
        found = dry_run(plan, folder)
        # Both studies read the same decoded clips.
        again = sum(one.decode for one in found) if folder.name == DEALT else 0.0
        seconds += sum(one.seconds for one in found) - again
    return seconds


def predictions_of(recipe: Recipe) -> Predictions:
    """What the finished studies predicted for test patients, with the exact EF as the truth."""
    exact = _exact_ef(recipe)
    return Predictions({
        key: with_exact_ef(rows, exact)
        for folder, plan in recipe.studies.items()
        for cell in cells(plan, folder)
        for key, rows in _of_cell(cell)
    })  # fmt: skip


def with_exact_ef(rows: pd.DataFrame, exact: pd.Series) -> pd.DataFrame:
    """Predictions whose truth of an EF is what the heart was drawn with, not what a reader found.

    Args:
        rows: Of :func:`echofm_core.training.predict.predict`.
        exact: Clip -> EF in percent.

    Raises:
        RuntimeError: A clip with an EF has no exact one.
    """
    read = (rows["task"] == Task.EF) & rows["truth"].notna()
    drawn = rows["clip_id"].map(exact).astype("float64")
    if drawn[read].isna().any():
        clip = rows.loc[read & drawn.isna(), "clip_id"].iloc[0]
        raise RuntimeError(f"the phantoms keep no exact EF of {clip}.")
    return rows.assign(truth=rows["truth"].astype("float64").mask(read, drawn))


def cost_of(recipe: Recipe) -> dict[str, float]:
    """Seconds so far: of ``workers``, summed over all trainings, and of ``studies`` as a whole."""
    each = [
        float(json.loads(path.read_text(encoding="utf-8"))["seconds"])
        for folder in recipe.studies
        for path in sorted(folder.glob(f"seed-*/arms/*/{RESULT}"))
    ]
    return {"workers": sum(each), "studies": sum(map(earlier_seconds, recipe.studies))}


def _write_phantoms(recipe: Recipe) -> None:
    machine = recipe.left_out.machine
    write_missing(machine.phantoms, machine.roots, workers=machine.workers)


def _of_cell(cell: Cell) -> Iterator[tuple[Key, pd.DataFrame]]:
    """Every model of a part, and those on a few patients, by who was left out."""
    (left_out,) = cell.plan.protocol.unseen or (DEALT,)
    for model, rows in read_run(cell.folder).predictions.items():
        name = Aggregation.FEDAVG.value if model == FEDERATED else model
        yield Key(left_out, name, cell.plan.seed), rows
    for shot in cell.shots:
        if shot.few.shots:
            yield (
                Key(left_out, few_shot_name(shot.few.shots), cell.plan.seed),
                shot_rows(cell, shot),
            )


def _exact_ef(recipe: Recipe) -> pd.Series:
    """Clip -> EF that the heart was drawn with, percent."""
    hospitals = Path(recipe.left_out.machine.phantoms.folder) / "hospitals"
    tables = [pd.read_csv(file) for file in sorted(hospitals.glob("*.truth.csv"))]
    return pd.concat(tables, ignore_index=True).set_index("clip")["ef"]
