"""Trains and tests arms, several at a time; what is finished in the folder is not done again."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing.connection import wait
from pathlib import Path

import pandas as pd
import torch

from benchmarks.learning_arms import Arm, Start, pretraining
from benchmarks.learning_clock import Cost, clock, cost_of
from benchmarks.learning_data import as_site, open_data, with_labels
from benchmarks.learning_floor import floor_scores, floors_of
from echofm_core.contract import Phase, Weights
from echofm_core.data.prepare import Prepared
from echofm_core.evaluation.score import ALL_SITES
from echofm_core.inference.evaluate import test_model
from echofm_core.models.saved import load_model, load_weights
from echofm_core.plan.document import Plan
from echofm_core.run_claim import claim, has_rounds
from echofm_core.runtime.checksum import digest
from echofm_core.runtime.console import progress
from echofm_core.runtime.files import write_whole
from simulations.alone import federate_one, plan_of_one
from simulations.prepare import save_sites

#: What is written last into the run folder of a finished arm.
RESULT = "result.json"


def run_all(arms: Sequence[Arm], recipe: Plan, folder: Path, workers: int) -> pd.DataFrame:
    """Pre-train once a seed, train and test every arm, and fit the floor to the same labels.

    Args:
        arms: Which.
        recipe: The plan that they change.
        folder: Holds the data; gets a run folder each. Called again after a kill, it goes on.
        workers: Processes, of one thread each.

    Returns:
        Columns seed, arm, task, metric, value, low, high (over patients), plan.
    """
    seeds = sorted({arm.seed for arm in arms if arm.start is Start.MAE})
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_alone) as pool:
        _each(pool, "pre-training", pretrain, [(seed, recipe, folder) for seed in seeds])
        _each(pool, "training arms", run_arm, [(arm, recipe, folder) for arm in arms])
    tables = [_result(arm, recipe, folder) for arm in arms]
    tables += [floor_scores(floor, recipe, folder) for floor in floors_of(arms)]
    return pd.concat(tables, ignore_index=True)


def pretrain(seed: int, recipe: Plan, folder: Path) -> str:
    """Masked auto-encoding on all training cines, whatever labels they have; returns its name."""
    plan, place = pretraining(recipe, seed), place_of_pretraining(seed, recipe, folder)
    plan = plan_of_one(plan, Phase.PRETRAIN)
    claim(place, plan, resume=True)
    with clock(place) as tick:
        _train(plan, open_data(folder), place, {}, tick)
    return place.name


def run_arm(arm: Arm, recipe: Plan, folder: Path) -> str:
    """Fine-tune and test one arm, unless its folder is finished; returns its name.

    Raises:
        ResumeError: Its folder holds a run from other weights.
    """
    plan, place = plan_of_one(arm.plan(recipe), Phase.FINETUNE), place_of(arm, recipe, folder)
    pretrained = arm.start is Start.MAE
    start = load_weights(place_of_pretraining(arm.seed, recipe, folder)) if pretrained else {}
    claim(place, plan, resume=True, begun={"start": digest(start) if start else ""})
    if (place / RESULT).exists():
        return arm.name
    data = with_labels(open_data(folder), arm.percent, arm.seed)
    with clock(place) as tick:
        _train(plan, data, place, start, tick)
        clips = as_site(data, plan).test_clips()
        scores = test_model(load_model(place), clips, place, name=arm.name)
    scores = scores[scores["site"] == ALL_SITES]
    rows = scores[["task", "metric", "value", "low", "high"]].to_dict("records")
    found = {"seed": arm.seed, "arm": arm.name, "plan": plan.digest(), "rows": rows}
    write_whole(place / RESULT, json.dumps(found, indent=1).encode())
    return arm.name


def _train(
    plan: Plan, data: Prepared, place: Path, start: Weights, tick: Callable[[object], None]
) -> None:
    """A federation of one site, or what is left of it to do."""
    save_sites(data, plan, place)
    resume = has_rounds(place)
    federate_one(plan, place, data, weights=start, resume=resume, on_event=tick)


def place_of(arm: Arm, recipe: Plan, folder: Path) -> Path:
    """The run folder of an arm: another recipe, another folder."""
    return folder / "runs" / f"seed-{arm.seed}" / f"{arm.name}-{arm.plan(recipe).digest()[:8]}"


def place_of_pretraining(seed: int, recipe: Plan, folder: Path) -> Path:
    """The run folder of what the MAE arms of a seed start from."""
    name = f"pretraining-{pretraining(recipe, seed).digest()[:8]}"
    return folder / "runs" / f"seed-{seed}" / name


def cost_of_all(arms: Sequence[Arm], recipe: Plan, folder: Path) -> Cost:
    """Of the arms and of the pre-training behind them."""
    places = {place_of(arm, recipe, folder) for arm in arms}
    places |= {place_of_pretraining(arm.seed, recipe, folder) for arm in arms}
    return sum(map(cost_of, sorted(places)), Cost())


def _result(arm: Arm, recipe: Plan, folder: Path) -> pd.DataFrame:
    found = json.loads((place_of(arm, recipe, folder) / RESULT).read_text(encoding="utf-8"))
    rows = pd.DataFrame(found["rows"])
    return rows.assign(seed=found["seed"], arm=found["arm"], plan=found["plan"])


def _each(
    pool: ProcessPoolExecutor,
    title: str,
    work: Callable[..., str],
    jobs: Sequence[tuple[object, ...]],
) -> None:
    """All jobs; the first that fails ends the others."""
    with progress(title, len(jobs)) as meter:
        futures = [pool.submit(work, *job) for job in jobs]
        try:
            for future in as_completed(futures):
                meter.advance(1, note=future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _alone() -> None:
    """One thread, and no longer life than the parent's, however that ends."""
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
