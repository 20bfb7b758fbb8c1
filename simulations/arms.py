"""The models of the site x model table: each is a federation, of other sites.

A hospital alone is a federation of one; pooled data are one site that holds everything;
leave-one-site-out is the federation without the site it is tested on. All run through the same
server, client and engine, so that only the data differ.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from echofm_core.contract import Phase
from echofm_core.data.label_counts import label_count
from echofm_core.evaluation.config import Baseline
from echofm_core.evaluation.model_names import ALONE, FEDERATED, LEAVE_ONE_OUT, LOCAL, POOLED
from echofm_core.plan.document import Plan
from echofm_core.plan.section import Section
from echofm_core.runtime.names import EVERY_SITE
from echofm_core.tasks import Task

#: Site name under which the pooled arm holds every site's manifest.
EVERYTHING = EVERY_SITE


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """One training run of an experiment.

    Attributes:
        name: ``federated``, ``pooled``, ``local:SITE``, ``without:SITE``, or ``alone``.
        model: Row of the table it fills; all ``without`` arms fill ``leave_one_out``.
        train: Sites it trains on.
        test: Sites it is tested on.
        tasks: Tasks that some training site has labels for; others are n/a.
        trainers: Training sites that take part in every phase: those with labels, if any train.
        pools: Phase -> sites with something to train on that it holds as one.
    """

    name: str
    model: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    tasks: tuple[Task, ...]
    trainers: int
    pools: Mapping[Phase, int] = field(default_factory=dict)

    def folder(self, run: Path) -> Path:
        """Its run folder; that of the model which the run is about is the run's own."""
        own = self.name in (FEDERATED, ALONE)
        return run if own else run / "baselines" / self.name.replace(":", "-")

    def plan(self, plan: Plan) -> Plan:
        """The experiment's plan, with ``min_sites`` within the number of sites that can train.

        Where work is counted in steps, pooled data take as many in a round as all their sites
        together, so that each model of a table has seen as many windows.
        """
        most = min(plan.federation.min_sites, self.trainers)
        tables: dict[str, Section] = {
            "federation": plan.federation.model_copy(update={"min_sites": most})
        }
        for phase, sites in self.pools.items():
            table = plan.pretrain if phase is Phase.PRETRAIN else plan.finetune
            steps = {"local_steps": table.local_steps * sites}
            tables[phase.value] = table.model_copy(update=steps)
        return plan.model_copy(update=tables)


def plan_arms(manifest: pd.DataFrame, plan: Plan) -> tuple[list[Arm], list[str]]:
    """All arms the plan asks for, the federated one first, and a sentence for each left out."""
    sites = sorted(manifest["site"].unique())
    if not plan.finetune.rounds:  # pre-training alone: an encoder, and nothing to score
        alone = Arm(
            name=FEDERATED,
            model=FEDERATED,
            train=tuple(sites),
            test=(),
            tasks=(),
            trainers=len(sites),
        )
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
            trainers=max(1, sum(bool(_tasks(train, plan, [site])) for site in members)),
        )

    arms = [arm(FEDERATED, FEDERATED, sites, tested)]
    wanted = plan.evaluation.baselines
    if Baseline.POOLED in wanted:
        pooled = arm(POOLED, POOLED, sites, tested)
        pools = _pools(train, plan, sites)
        arms.append(replace(pooled, train=(EVERYTHING,), trainers=1, pools=pools))
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


def _pools(train: pd.DataFrame, plan: Plan, sites: Sequence[str]) -> dict[Phase, int]:
    """Sites with training clips, and with a training label of a planned task."""
    return {
        Phase.PRETRAIN: sum(site in set(train["site"]) for site in sites),
        Phase.FINETUNE: sum(bool(_tasks(train, plan, [site])) for site in sites),
    }


def _tasks(rows: pd.DataFrame, plan: Plan, sites: Sequence[str]) -> tuple[Task, ...]:
    """Tasks that these sites have labels for in these rows."""
    rows = rows[rows["site"].isin(list(sites))]
    return tuple(
        task for task in plan.finetune.tasks if label_count(rows, task, plan.protocol.views)
    )
