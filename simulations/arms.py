"""The models of the site x model table: each is a federation, of other sites.

A hospital alone is a federation of one; pooled data are one site that holds everything;
leave-one-site-out is the federation without the site it is tested on. All run through the same
server, client and engine, so that only the data differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from echofm_core.contract import EVERY_SITE
from echofm_core.data.census import label_count
from echofm_core.evaluation.config import Baseline
from echofm_core.evaluation.model_names import FEDERATED, LEAVE_ONE_OUT, LOCAL, POOLED
from echofm_core.plan import Plan
from echofm_core.tasks import Task

#: Site name under which the pooled arm holds every site's manifest.
EVERYTHING = EVERY_SITE


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """One training run of an experiment.

    Attributes:
        name: ``federated``, ``pooled``, ``local:SITE`` or ``without:SITE``.
        model: Row of the table it fills; all ``without`` arms fill ``leave_one_out``.
        train: Sites it trains on.
        test: Sites it is tested on.
        tasks: Tasks that some training site has labels for; others are n/a.
    """

    name: str
    model: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    tasks: tuple[Task, ...]

    def folder(self, run: Path) -> Path:
        """Its run folder; the federated arm's is the experiment's own."""
        return run if self.name == FEDERATED else run / "baselines" / self.name.replace(":", "-")

    def plan(self, plan: Plan) -> Plan:
        """The experiment's plan, with ``min_sites`` within the number of its sites."""
        most = min(plan.federation.min_sites, len(self.train))
        federation = plan.federation.model_copy(update={"min_sites": most})
        return plan.model_copy(update={"federation": federation})


def plan_arms(manifest: pd.DataFrame, plan: Plan) -> tuple[list[Arm], list[str]]:
    """All arms the plan asks for, the federated one first, and a sentence for each left out."""
    sites = sorted(manifest["site"].unique())
    if not plan.finetune.rounds:  # pre-training alone: an encoder, and nothing to score
        alone = Arm(name=FEDERATED, model=FEDERATED, train=tuple(sites), test=(), tasks=())
        return [alone], ["Pre-training only: the result is an encoder, no task was trained."]
    train = manifest[manifest["split"] == "train"]
    test = manifest[manifest["split"] == "test"]
    tested = tuple(site for site in sites if _tasks(test, plan, [site]))
    notes: list[str] = []

    def arm(name: str, model: str, members: Sequence[str], on: Sequence[str]) -> Arm:
        return Arm(
            name=name,
            model=model,
            train=tuple(members),
            test=tuple(on),
            tasks=_tasks(train, plan, members),
        )

    arms = [arm(FEDERATED, FEDERATED, sites, tested)]
    wanted = plan.evaluation.baselines
    if Baseline.POOLED in wanted:
        pooled = arm(POOLED, POOLED, sites, tested)
        arms.append(
            Arm(name=POOLED, model=POOLED, train=(EVERYTHING,), test=tested, tasks=pooled.tasks)
        )
    for site in sites:
        if Baseline.LOCAL in wanted:
            local = arm(f"{LOCAL}{site}", f"{LOCAL}{site}", [site], tested)
            if local.tasks:
                arms.append(local)
            else:
                notes.append(f"{site} has no training labels, so there is no model of it alone.")
        if Baseline.LEAVE_ONE_OUT in wanted:
            others = [name for name in sites if name != site]
            held_out = arm(f"without:{site}", LEAVE_ONE_OUT, others, [site])
            if set(held_out.tasks) & set(_tasks(test, plan, [site])):
                arms.append(held_out)
            elif site in tested:
                notes.append(f"Leaving {site} out is n/a: no other site has labels for its tasks.")
    return arms, notes


def _tasks(rows: pd.DataFrame, plan: Plan, sites: Sequence[str]) -> tuple[Task, ...]:
    """Tasks that these sites have labels for in these rows."""
    rows = rows[rows["site"].isin(list(sites))]
    return tuple(task for task in plan.finetune.tasks if label_count(rows, plan, task))
