"""What of a plan will not work, or will say little, found before anything trains."""

from __future__ import annotations

import pandas as pd

from client.plan_words import shared_groups
from echofm_core.contract import Phase
from echofm_core.data.manifest import Split
from echofm_core.data.patients import patient_keys
from echofm_core.data.splits import unlabelled_notes
from echofm_core.evaluation.labels import TASK_TITLES
from echofm_core.plan.document import Plan
from echofm_core.plan.preflight import preflight_notes
from echofm_core.privacy.accounting import resolve_noise
from echofm_core.privacy.config import PrivacyKind
from echofm_core.training.label_share import as_trained
from simulations.study.estimate import Data, noise_to_signal, tasks_at


def warnings_of(plan: Plan, manifest: pd.DataFrame) -> list[str]:
    """What will not work, or will say little: a sentence each.

    Args:
        plan, manifest: Of one protocol and variation, with sites and splits.
    """
    few, found = plan.evaluation.min_patients, preflight_notes(plan)
    planned = plan.finetune.tasks if plan.finetune.rounds else ()
    found += unlabelled_notes(as_trained(manifest, plan), planned, plan.protocol.views)
    train, test = (tasks_at(manifest, plan, split) for split in (Split.TRAIN, Split.TEST))
    for task in planned:
        learns = [
            site
            for site, counts in train.items()
            if counts[task.value] and site not in plan.protocol.unseen
        ]
        if len(learns) == 1:
            found.append(
                f"{TASK_TITLES[task]} has training labels at {learns[0]} alone: its head is that "
                "site's own, and leaving that site out is n/a."
            )
        small = {site: n for site, counts in test.items() if 0 < (n := counts[task.value]) < few}
        if small:
            sites = ", ".join(f"{n} at {site}" for site, n in small.items())
            found.append(
                f"{TASK_TITLES[task]} has fewer than {few} test patients at some sites ({sites}): "
                "too few to judge, so that they get values and no comparison."
            )
    return [*found, *_private_warnings(plan, manifest)]


def _private_warnings(plan: Plan, manifest: pd.DataFrame) -> list[str]:
    """Of differential privacy: sites whose noise is longer than their gradients can be."""
    if plan.privacy.kind is PrivacyKind.NONE:
        return []
    found, data = [], Data(manifest, plan)
    phases = {phase: plan.table_of(phase) for phase in Phase if plan.rounds_of(phase)}
    rows = manifest[manifest["split"] == Split.TRAIN.value]
    for site in sorted(set(rows["site"]) - set(plan.protocol.unseen)):
        people = max(1, patient_keys(rows[rows["site"] == site]).nunique())
        noise = resolve_noise(plan.privacy, phases, people)
        for phase, table in phases.items():
            if not data.clips(site, Split.TRAIN, phase):
                continue
            steps = table.steps_of_round(people) * table.rounds
            size = sum(shared_groups(plan, phase).values())
            ratio = noise_to_signal(plan, phase, size, steps, noise)
            if ratio > 1:
                found.append(
                    f"privacy drowns the signal of {phase.value} at {site}: over its {steps:,} "
                    f"steps the noise (multiplier {noise:.2f}) is {ratio:,.0f} times as long as "
                    "clipped gradients that all point one way; raise epsilon or the batch, train "
                    "fewer parameters (finetune.mode), or more patients."
                )
    return found
