"""From what a probe measured to what trainings will take: seconds, bytes and memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from client.plan_words import shared_groups, update_bytes
from echofm_core.contract import Phase
from echofm_core.data.manifest import Split
from echofm_core.data.patients import patient_keys
from echofm_core.data.store.space import previous_store
from echofm_core.models.build import anatomy_of
from echofm_core.plan.document import Plan
from echofm_core.runtime.names import EVERY_SITE
from echofm_core.tasks import TASKS, Task
from echofm_core.training.label_share import as_trained
from simulations.arms import Arm
from simulations.few_shot import FewShot
from simulations.prepare import trained_on
from simulations.study.probe import Costs

#: What all arrays of the model weigh at the coordinator, in copies of it.
COORDINATOR_COPIES = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What one training will take.

    Attributes:
        rounds: Of both phases.
        steps: Optimizer steps at all sites together.
        seconds: On one worker, its tests included.
        bytes: Weights between sites, both ways; 0 where one site trains.
    """

    rounds: int
    steps: int
    seconds: float
    bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """Clips by site, split and phase, as a plan will draw from them.

    Attributes:
        manifest: With sites and splits.
        plan: Whose tasks, views and share of labels count.
    """

    manifest: pd.DataFrame
    plan: Plan

    def clips(self, site: str, split: Split, phase: Phase) -> int:
        """Clips of a site that a phase uses; of fine-tuning those with a label for a task."""
        rows = self.manifest
        if split is Split.TRAIN:
            rows = as_trained(rows, self.plan)
        rows = trained_on(rows, self.plan) if site == EVERY_SITE else rows[rows["site"] == site]
        rows = rows[rows["split"] == split.value]
        if phase is Phase.PRETRAIN:
            return len(rows)
        labelled = [self.labelled(rows, task) for task in self.plan.finetune.tasks]
        return int(np.any(labelled, axis=0).sum()) if labelled else 0

    def labelled(self, rows: pd.DataFrame, task: Task) -> NDArray[np.bool_]:
        """Bool (N,): rows with a label of a task in a view that is used."""
        has = rows[TASKS[task].column].notna().to_numpy(dtype=bool)
        if self.plan.protocol.views:
            has &= rows["view"].isin(list(self.plan.protocol.views)).to_numpy(dtype=bool)
        return has


def work_of(arm: Arm, plan: Plan, data: Data, costs: Costs) -> Work:
    """What a training of an arm by a plan will take, phase by phase and site by site."""
    rounds = steps = size = 0
    seconds = 0.0
    for phase in (phase for phase in Phase if plan.rounds_of(phase)):
        table, cost, number = plan.table_of(phase), costs.phases[phase], plan.rounds_of(phase)
        counts = {site: data.clips(site, Split.TRAIN, phase) for site in arm.train}
        trains = [site for site, count in counts.items() if count]
        own = sum(table.steps_of_round(counts[site]) for site in trains) * number
        if phase is Phase.FINETUNE:
            own *= 2 if plan.personal.ditto else 1
            own += plan.personal.last_steps * len(trains)
        judged = 0.0
        if plan.validates:
            clips = sum(data.clips(site, Split.VALIDATION, phase) for site in trains)
            judged = clips * (number / plan.federation.validate_every)
        rounds += number
        steps += own
        seconds += own * cost.step + judged * cost.validation
        seconds += number * len(trains) * cost.exchange
        if len(arm.train) > 1:
            each = 2 * update_bytes(plan, phase) + bytes_to_sites(plan, phase)
            size += number * len(trains) * each
    seconds += tested_clips(arm, plan, data) * costs.test
    return Work(rounds=rounds, steps=steps, seconds=seconds, bytes=size)


def tested_clips(arm: Arm, plan: Plan, data: Data) -> int:
    """Clips that models are tested on at the end, those of each model counted.

    At each site with test labels that trained, or that the table asks for: its test clips, and
    those that validate. Where a site has models of its own, they are tested beside the shipped one.
    """
    if not plan.finetune.rounds:
        return 0
    trained = {site for site in arm.train if site not in arm.given}
    models = 1 + (plan.personal.ditto > 0) + (plan.personal.last_steps > 0)
    found = 0
    for site in trained.union(arm.test):
        if tests := data.clips(site, Split.TEST, Phase.FINETUNE):
            clips = tests + data.clips(site, Split.VALIDATION, Phase.FINETUNE)
            found += clips * (models if site in trained else 1)
    return found


def shots_work(few: FewShot, data: Data, costs: Costs) -> Work:
    """What fine-tuning a model on a few patients of a site will take."""
    rows, plan = data.manifest, few.plan(data.plan)
    chosen = patient_keys(rows).isin(few.patients) & (rows["split"] == Split.TRAIN.value)
    tested = rows["split"] == Split.TEST.value
    return work_of(few.arm, plan, Data(rows[chosen | tested], plan), costs)


def bytes_to_sites(plan: Plan, phase: Phase) -> int:
    """Bytes that a site is sent in a round beside these: layers below adapters averaged exactly."""
    if phase is Phase.PRETRAIN or not plan.finetune.exact_adapters:
        return 0
    return anatomy_of(plan).below * np.dtype(plan.federation.wire.dtype).itemsize


def memory_of(plan: Plan, costs: Costs) -> int:
    """Bytes at most: a process a worker as large as the probe's, and the coordinator's arrays."""
    phases = [phase for phase in Phase if plan.rounds_of(phase)]
    model = max(sum(shared_groups(plan, phase).values()) * 4 for phase in phases)
    workers = plan.machine.workers
    processes = 1 if workers == 1 else workers + 1
    return processes * costs.memory + workers * COORDINATOR_COPIES * model


def decode_seconds(manifest: pd.DataFrame, plan: Plan, cache: Path, costs: Costs) -> float:
    """Of the clips that are in no store yet, on all workers."""
    seconds = 0.0
    for dataset, rows in manifest.groupby("dataset", observed=True):
        store = previous_store(cache / "stores" / str(dataset), plan.data)
        missing = sum(store is None or clip not in store for clip in rows["clip_id"])
        seconds += missing * costs.decode.get(str(dataset), 0.0)
    return seconds / plan.machine.workers


def noise_to_signal(plan: Plan, phase: Phase, parameters: int, steps: int, noise: float) -> float:
    """How much longer the noise of a phase's steps at a site is than their gradients can be.

    Noise of ``noise * clip_norm / batch`` on each of d numbers, over T independent steps, is
    ``noise * clip_norm * sqrt(d * T) / batch`` long in the mean; clipped gradients that all point
    one way add up to ``T * clip_norm`` at most. Above 1, the sum of a phase is mostly noise.
    """
    batch = plan.table_of(phase).batch_size
    return noise * float(np.sqrt(parameters)) / (batch * float(np.sqrt(max(1, steps))))


def tasks_at(manifest: pd.DataFrame, plan: Plan, split: Split) -> dict[str, dict[str, int]]:
    """Site -> task -> patients with a label in a split."""
    data, found = Data(manifest, plan), {}
    for site, rows in manifest.groupby("site", observed=True):
        here = rows[rows["split"] == split.value]
        found[str(site)] = {
            task.value: patient_keys(here[data.labelled(here, task)]).nunique()
            for task in plan.finetune.tasks
        }
    return found
