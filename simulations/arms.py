"""The models of the site x model table, and what each trains on: a federation, of other sites.

A hospital alone is a federation of one; pooled data are one site that holds everything;
leave-one-site-out is the federation without the site it is tested on. All run through the same
server, client and engine, so that only the data differ, or, of the federation without pre-training,
the rounds. Sites that the plan calls unseen train no arm; all but leave-one-out are tested there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pandas as pd

from echofm_core.contract import Phase
from echofm_core.data.manifest import Split
from echofm_core.data.splits import label_count
from echofm_core.evaluation.config import Baseline
from echofm_core.evaluation.model_names import (
    ALONE,
    FEDERATED,
    LEAVE_ONE_OUT,
    LOCAL,
    NO_PRETRAINING,
    POOLED,
)
from echofm_core.plan.document import Plan
from echofm_core.plan.federation import Aggregation, median_notes
from echofm_core.plan.section import Section
from echofm_core.runtime.names import EVERY_SITE
from echofm_core.tasks import Task
from echofm_core.training.personal import PersonalConfig
from simulations.prepare import lent, unlabelled_name


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """One training run of an experiment."""

    name: str
    """``federated``, ``no_pretraining``, ``pooled``, ``local:SITE``, ``without:SITE``, or
    ``alone``."""
    model: str
    """Row of the table it fills; all ``without`` arms fill ``leave_one_out``."""
    train: tuple[str, ...]
    """Sites it trains on."""
    test: tuple[str, ...]
    tasks: tuple[Task, ...]
    """Tasks that some training site has labels for; others are n/a."""
    trainers: int
    """Training sites that take part in every phase: those with labels, if any train."""
    pools: Mapping[Phase, int] = field(default_factory=dict)
    """Phase -> sites with something to train on that it holds as one."""
    given: Mapping[str, str] = field(default_factory=dict)
    """Site -> name of the manifest that it trains by here, in place of its own, by which it is
    tested."""
    pretrained: bool = True
    """Whether it pre-trains, where the plan does."""
    tested: str = ""
    """Which of the models that its sites have is its own (``personal``, ``last_step``); empty: the
    one that is shipped."""

    def folder(self, run: Path) -> Path:
        """Its run folder; that of the model which the run is about is the run's own."""
        own = self.name in (FEDERATED, ALONE)
        return run if own else run / "baselines" / self.name.replace(":", "-")

    def plan(self, plan: Plan) -> Plan:
        """The experiment's plan, with ``min_sites`` within the number of sites that can train.

        One model has nobody to be averaged with: it goes on from where it has come, by no rule, as
        whoever trains alone would. Steps of a server (FedAdam, FedAvgM), or FedProx's term, would
        hold it back, and the federation would be compared with less than a site can do.

        Where work is counted in steps, pooled data take as many in a round as all their sites
        together, so that each model of a table has seen as many windows.
        """
        most = min(plan.federation.min_sites, self.trainers)
        own: dict[str, object] = {"min_sites": most}
        if len(self.train) == 1:
            own["aggregation"] = Aggregation.FEDAVG
        tables: dict[str, Section] = {"federation": plan.federation.model_copy(update=own)}
        for phase, sites in self.pools.items():
            table = plan.pretrain if phase is Phase.PRETRAIN else plan.finetune
            steps = {"local_steps": table.local_steps * sites}
            tables[phase.value] = table.model_copy(update=steps)
        if len(self.train) == 1:  # what it trains is its own, and is tested elsewhere too
            tables["personal"] = PersonalConfig()
        if not self.pretrained:
            tables["pretrain"] = plan.pretrain.model_copy(update={"rounds": 0})
        return plan.model_copy(update=tables)


def plan_arms(manifest: pd.DataFrame, plan: Plan) -> tuple[list[Arm], list[str]]:
    """All arms the plan asks for, the federated one first, and a sentence for each left out."""
    every = sorted(manifest["site"].unique())
    sites = [site for site in every if site not in plan.protocol.unseen]
    unseen = [site for site in every if site in plan.protocol.unseen]
    asked = plan.finetune.tasks if plan.finetune.rounds else ()

    def labelled(split: Split, where: Sequence[str]) -> dict[str, set[Task]]:
        rows = manifest[manifest["split"] == split.value]
        parts = {site: rows[rows["site"] == site] for site in where}
        count = partial(label_count, views=plan.protocol.views)
        return {site: {t for t in asked if count(part, t)} for site, part in parts.items()}

    known, tested = labelled(Split.TRAIN, sites), labelled(Split.TEST, every)

    def arm(name: str, model: str, members: Sequence[str], on: Sequence[str]) -> Arm:
        return Arm(
            name=name,
            model=model,
            train=tuple(members),
            test=tuple(site for site in on if tested[site]),
            tasks=tuple(t for t in asked if any(t in known[site] for site in members)),
            trainers=max(1, sum(bool(known[site]) for site in members)),
        )

    offered = lent(manifest, plan)

    def with_clips_of(own: Arm, others: Sequence[str]) -> Arm:
        """The arm, with clips of sites that it does not see, where the plan lets them in."""
        extra = [site for site in others if site in offered]
        given = {site: unlabelled_name(site) for site in extra}
        return replace(own, train=tuple(sorted({*own.train, *extra})), given=given)

    seeing = arm(FEDERATED, FEDERATED, sites, every)
    federated = with_clips_of(seeing, unseen)
    if not asked:  # pre-training alone: an encoder, and nothing to score
        note = "Pre-training only: the result is an encoder, no task was trained."
        return [replace(federated, trainers=len(sites))], [note]
    arms, notes, wanted = [federated], list[str](), plan.evaluation.baselines
    if Baseline.NO_PRETRAINING in wanted and plan.pretrain.rounds:
        arms.append(replace(seeing, name=NO_PRETRAINING, model=NO_PRETRAINING, pretrained=False))
    elif Baseline.NO_PRETRAINING in wanted:
        notes.append("The plan has no pre-training, so there is no other model without it.")
    if Baseline.POOLED in wanted:
        pooled = replace(seeing, name=POOLED, model=POOLED, train=(EVERY_SITE,), trainers=1)
        own = (EVERY_SITE,) if any(site in sites for site in federated.test) else ()
        pooled = replace(pooled, test=(*own, *(site for site in federated.test if site in unseen)))
        training = manifest.loc[manifest["split"] == Split.TRAIN.value, "site"]
        trained = len(set(training).intersection([*sites, *offered]))
        pools = {Phase.PRETRAIN: trained, Phase.FINETUNE: sum(map(bool, known.values()))}
        arms.append(replace(pooled, pools=pools))
    for site in sites:
        if Baseline.LOCAL in wanted:
            local = arm(f"{LOCAL}{site}", f"{LOCAL}{site}", [site], every)
            if local.tasks:
                arms.append(local)
            else:
                notes.append(f"{site} has no training labels, so there is no model of it alone.")
        if Baseline.LEAVE_ONE_OUT in wanted:
            others = [name for name in sites if name != site]
            held_out = arm(f"without:{site}", LEAVE_ONE_OUT, others, [site])
            held_out = with_clips_of(held_out, [site, *unseen])
            if tested[site] & set(held_out.tasks):
                arms.append(held_out)
            elif tested[site]:
                notes.append(f"Leaving {site} out is n/a: no other site has labels for its tasks.")
    return arms, [*notes, *_rule_notes(arms, plan)]


def _rule_notes(arms: Sequence[Arm], plan: Plan) -> list[str]:
    """A sentence for each model that goes by another rule than the plan's, since it has few sites.

    The plan's own federation has as many as its rule needs: see :func:`simulations.prepare`.
    """
    every = ((arm.model, median_notes(plan.federation, arm.trainers)) for arm in arms)
    return list(dict.fromkeys(f"{model}: {note}" for model, notes in every for note in notes))
