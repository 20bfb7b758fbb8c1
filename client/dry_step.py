"""A few steps of training over a site's own clips: does it train here, and how fast?"""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from client.approval import newest_plan
from client.launch import SiteFile
from client.site import Site
from client.withdrawn import read_withdrawn
from echofm_core.contract import Phase
from echofm_core.data.store.clip_store import open_stores
from echofm_core.data.windows import ClipWindows
from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_mapping
from echofm_core.privacy.config import PrivacyKind
from echofm_core.runtime.errors import EmptySiteError
from echofm_core.tasks import TASKS
from echofm_core.training.objectives.phases import build_model, own_round
from echofm_core.training.steps.job import LocalContext

#: Clips of a step at most, and seconds that the steps of a phase shall take.
BATCH, SECONDS = 2, 2.0


def plan_of(folder: Path, site: SiteFile) -> Plan:
    """The plan that was approved last; a tiny one for this site's store where none was.

    Raises:
        StoreError: There is no store to fit it to.
    """
    if found := newest_plan(folder):
        return found
    square = open_stores(Path(site.store)).square
    data = {"size": square.size, "field_cm": square.field_cm}
    return plan_from_mapping({"name": "check", "data": data, "model": {"size": "tiny"}}, "check")


def speeds(folder: Path, site: SiteFile) -> Iterator[str]:
    """How fast each phase trains here, in words.

    Raises:
        EmptySiteError: There is nothing to train on in any phase.
        EchoFMError: Whatever keeps it from training.
    """
    plan, found = plan_of(folder, site), False
    config = {"site": site.name, "manifest": site.manifest, "store": site.store}
    opened = Site.open({**config, **site.settings()}, plan, min_patients=site.policy.min_patients)
    opened = replace(opened, manifest=read_withdrawn(folder).without(opened.manifest))
    torch.set_num_threads(site.threads)
    which = f"the plan {plan.run_name()}" if newest_plan(folder) else "no plan approved yet"
    for phase in (phase for phase in Phase if plan.rounds_of(phase)):
        clips = opened.train_clips(phase)
        rows = clips.manifest
        if phase is Phase.FINETUNE:
            columns = [TASKS[task].column for task in plan.finetune.tasks]
            rows = rows[rows[columns].notna().any(axis=1)]
        if rows.empty:
            yield f"{phase}: nothing to train on"
            continue
        found = True
        table = plan.table_of(phase)
        few = ClipWindows(opened.store, rows[:BATCH], plan.data)
        speed = _clips_a_second(opened, few, plan, phase)
        steps = table.steps_of_round(len(clips))
        seconds = steps * table.batch_size / speed
        yield (
            f"{phase}: {speed:.3g} clips a second with a {plan.model.size.value} model ({which}), "
            f"a round of {steps:,} steps of {table.batch_size} takes about {seconds:,.0f} s"
        )
    if not found:
        raise EmptySiteError(
            "no phase has a clip to train on; check labels, views, and min_patients in [policy]."
        )
    if site.devices > 1:
        yield f"one of {site.devices} devices was tried"
    if plan.privacy.kind is not PrivacyKind.NONE:
        yield "without the plan's noise, with which a round takes longer"


def _clips_a_second(site: Site, clips: ClipWindows, plan: Plan, phase: Phase) -> float:
    """Measured over steps as a round takes them, after one that is not counted."""
    model = build_model(plan, phase, plan.table_of(phase).stages()[-1])

    def train(steps: int) -> float:
        changes = {"local_steps": steps, "batch_size": len(clips), "keep_optimizer": False}
        table = plan.table_of(phase).model_copy(update={**changes, "local_epochs": 1})
        execution = site.execution.model_copy(update={"devices": 1, "save_every": 0})
        context = LocalContext(
            seed=plan.seed, site=site.name, round=1, rounds=1, execution=execution
        )
        started = time.monotonic()
        own_round(model, clips, plan.model_copy(update={phase.value: table}), context)
        return time.monotonic() - started

    first = train(1)
    steps = max(1, min(50, int(SECONDS / max(first, 1e-3))))
    return steps * len(clips) / (first if first > 10 * SECONDS else train(steps))
