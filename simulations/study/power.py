"""What the test patients of a plan can show at all, said before anything trains."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

from echofm_core.data.manifest import Split
from echofm_core.evaluation.detectable import POWER, detectable_difference
from echofm_core.plan.document import Plan
from echofm_core.plan.study import Training
from echofm_core.runtime.text import many
from echofm_core.tasks import Task
from simulations.study.cells import study_of
from simulations.study.estimate import tasks_at


def detectable_notes(plan: Plan, manifest: pd.DataFrame, rivals: int) -> list[str]:
    """The smallest difference in EF error that a comparison of two models can show.

    As a share of their mean absolute error, which nobody knows before: for all test patients of
    the sites that train, for the site with the fewest, and for all patients of sites that no model
    trains on; each of the sites that have enough test patients to be judged.

    Args:
        plan, manifest: Of a run or study, with sites and splits.
        rivals: Models that the plan's own is compared with.

    Returns:
        At most one sentence.
    """
    if Task.EF not in plan.finetune.tasks or not plan.finetune.rounds or not rivals:
        return []
    every = tasks_at(manifest, plan, Split.TEST)
    least = plan.evaluation.min_patients
    counts = {site: n for site, tasks in every.items() if (n := tasks[Task.EF.value]) >= least}
    judged = {site: n for site, n in counts.items() if site not in plan.protocol.unseen}
    unseen = {site: n for site, n in counts.items() if site not in judged}
    groups = {"of the sites that train": sum(judged.values())} if judged else {}
    if len(judged) > 1:
        smallest = min(judged, key=judged.__getitem__)
        groups[f"of {smallest} alone"] = judged[smallest]
    if unseen:
        groups["of sites never seen"] = sum(unseen.values())
    if not groups:
        return []
    # A family of Holm's: each rival at each site, and in the mean over them.
    compared = rivals * sum(len(sites) + (len(sites) > 1) for sites in (judged, unseen))
    compared -= _repeated(plan, manifest, judged)
    level = 1 - plan.evaluation.confidence
    shares = (
        f"{_share(count, level, max(1, compared))} of that error for the "
        f"{many(count, 'test patient')} {which}"
        for which, count in groups.items()
    )
    return [
        "The smallest difference in mean absolute EF error that a comparison finds with "
        f"probability {POWER:g}, one of {many(max(1, compared), 'comparison')} at the level of "
        f"{level:.2g}, is about {', '.join(shares)}; smaller ones stay unclear."
    ]


def _repeated(plan: Plan, manifest: pd.DataFrame, judged: Collection[str]) -> int:
    """Comparisons that count once under two names: a study's row ``local``, and who is in it."""
    if not plan.study.asked or Training.LOCAL.value not in study_of(plan).methods:
        return 0
    learns = tasks_at(manifest, plan, Split.TRAIN)
    return sum(bool(learns.get(site, {}).get(Task.EF.value)) for site in judged)


def _share(patients: int, level: float, comparisons: int) -> str:
    """In percent of the error."""
    smallest = detectable_difference(patients, 1.0, level=level, comparisons=comparisons)
    return f"{100 * smallest:.0f} %" if smallest < 10 else "more than ten times"
