"""A short measured probe: what a step, a validation, a test and an exchange cost on this machine.

A few clips of the plan's data are decoded into a folder that goes again, and each phase's own code
runs on them: a few optimizer steps with the plan's batch, a few clips to validate and to test.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from echofm_core.contract import Phase
from echofm_core.data.manifest import Split
from echofm_core.data.store.build import build_store
from echofm_core.data.store.clip_store import ClipStore
from echofm_core.data.windows import ClipWindows
from echofm_core.models.echo_model import EchoModel
from echofm_core.models.weights import load_arrays, named_weights, to_arrays
from echofm_core.plan.document import Plan
from echofm_core.runtime.errors import EmptySiteError
from echofm_core.tasks import TASKS
from echofm_core.training.objectives.phases import Model, build_model, own_round, validation_loss
from echofm_core.training.predict import predict
from echofm_core.training.steps.job import LocalContext

#: Clips that are decoded a data set, and clips that are validated and tested.
CLIPS, JUDGED = 6, 4
#: Seconds that the counted steps of a phase take at most, and most steps.
SECONDS, STEPS = 4.0, 8


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseCosts:
    """Seconds of one phase on one worker."""

    step: float
    """An optimizer step of the plan's batch."""
    validation: float
    """A validation clip."""
    exchange: float
    """What a site's round costs beside its clips: a model built, its weights put in and out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Costs:
    """What was measured.

    Attributes:
        decode: Data set -> seconds a clip, in one process.
        phases: Of each phase that the plan has.
        test: Seconds a test clip, all its windows.
        memory: Bytes of this process at its largest, model, batch and libraries included.
    """

    decode: Mapping[str, float]
    phases: Mapping[Phase, PhaseCosts]
    test: float
    memory: int


def probe(plan: Plan, manifest: pd.DataFrame) -> Costs:
    """Measure on a few clips of each data set.

    Args:
        plan: What would be trained.
        manifest: Its clips with sites and splits, decoded or not.

    Raises:
        EmptySiteError: A phase has no clip that can be decoded.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(plan.machine.threads)
    try:
        with tempfile.TemporaryDirectory(prefix="echofm-probe-") as folder:
            rows, store, decode = _decoded(plan, manifest, Path(folder))
            phases = {
                phase: _phase(plan, phase, _clips(plan, phase, rows, store))
                for phase in Phase
                if plan.rounds_of(phase)
            }
            test = 0.0
            if plan.finetune.rounds:
                test = _test(plan, _clips(plan, Phase.FINETUNE, rows, store))
    finally:
        torch.set_num_threads(threads)
    return Costs(decode=decode, phases=phases, test=test, memory=peak_memory())


def peak_memory() -> int:
    """Largest resident size of this process so far, in bytes; of its GPU, where it used one."""
    unit = 1 if sys.platform == "darwin" else 1024
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    if torch.cuda.is_available():
        return max(largest, torch.cuda.max_memory_allocated())
    return largest


def _decoded(
    plan: Plan, manifest: pd.DataFrame, folder: Path
) -> tuple[pd.DataFrame, ClipStore, dict[str, float]]:
    """A few training clips of each data set, those with labels first; and seconds a clip."""
    training = manifest[manifest["split"] == Split.TRAIN.value]
    if plan.protocol.views:
        viewed = training[training["view"].isin(list(plan.protocol.views))]
        training = viewed if len(viewed) else training
    columns = [TASKS[task].column for task in plan.finetune.tasks]
    parts, decode = [], {}
    for dataset, rows in training.groupby("dataset", observed=True):
        has = rows[columns].notna().sum(axis=1)
        few = rows.loc[has.sort_values(ascending=False, kind="stable").index[:CLIPS]]
        started = time.monotonic()
        build_store(few.reset_index(drop=True), folder / str(dataset), plan.data)
        decode[str(dataset)] = (time.monotonic() - started) / len(few)
        parts.append(few)
    store = ClipStore([folder / name for name in decode])
    return pd.concat(parts, ignore_index=True), store, decode


def _clips(plan: Plan, phase: Phase, rows: pd.DataFrame, store: ClipStore) -> ClipWindows:
    """The decoded clips that a phase trains on, as of one site."""
    if phase is Phase.FINETUNE:
        columns = [TASKS[task].column for task in plan.finetune.tasks]
        rows = rows[rows[columns].notna().any(axis=1)]
    clips = ClipWindows(store, rows.reset_index(drop=True), plan.data)
    if not len(clips):
        raise EmptySiteError(
            f"none of {CLIPS} training clips of each data set can be used in {phase.value}; "
            "`echofm data doctor` says why."
        )
    return clips


def _phase(plan: Plan, phase: Phase, clips: ClipWindows) -> PhaseCosts:
    stage = plan.table_of(phase).stages()[-1]
    started = time.monotonic()
    model = build_model(plan, phase, stage)
    load_arrays(model, to_arrays(model, {name.split(".")[0] for name in named_weights(model)}))
    exchange = time.monotonic() - started

    def train(steps: int) -> float:
        changes = {"local_steps": steps, "local_epochs": 1, "keep_optimizer": False}
        table = plan.table_of(phase).model_copy(update=changes)
        context = LocalContext(seed=plan.seed, site="probe", round=1, rounds=1)
        own = plan.model_copy(update={phase.value: table})
        return _seconds(lambda: own_round(model, clips, own, context))

    return PhaseCosts(
        step=_slope(train),
        validation=_validation(plan, model, clips),
        exchange=exchange,
    )


def _slope(train: Callable[[int], float]) -> float:
    """Seconds of a step: of several more than two, after one that is not counted."""
    first = train(1)
    if first > SECONDS:
        return train(1)
    few = train(1)
    more = max(2, min(STEPS, int(SECONDS / max(few, 1e-3))))
    return max(1e-6, (train(1 + more) - few) / more)


def _validation(plan: Plan, model: Model, clips: ClipWindows) -> float:
    few = ClipWindows(clips.store, clips.manifest[:JUDGED], plan.data)
    device = plan.machine.device
    seconds = _seconds(lambda: validation_loss(model, few, plan, site="probe", device=device))
    return seconds / len(few)


def _test(plan: Plan, clips: ClipWindows) -> float:
    model = build_model(plan, Phase.FINETUNE, plan.finetune.stages()[-1])
    if not isinstance(model, EchoModel):
        raise TypeError(f"expected an EchoModel, got {type(model).__name__}")
    few = ClipWindows(clips.store, clips.manifest[:JUDGED], plan.data)
    seconds = _seconds(
        lambda: predict(
            model,
            few,
            plan.finetune,
            batch_size=plan.finetune.batch_size,
            device=plan.machine.device,
        )
    )
    return seconds / len(few)


def _seconds(work: Callable[[], object]) -> float:
    """Wall time of some work, what it left to a GPU included."""
    started = time.monotonic()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.monotonic() - started
