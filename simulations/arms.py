"""The models of the site x model table, and how each is trained: a federation, of other sites.

A hospital alone is a federation of one; pooled data are one site that holds everything;
leave-one-site-out is the federation without the site it is tested on. All run through the same
server, client and engine, so that only the data differ, or, of the federation without pre-training,
the rounds. Sites that the plan calls unseen train no arm; all but leave-one-out are tested there.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

import pandas as pd
from flwr.serverapp import Grid

from client.answers import LOG
from client.state import predictions_file, validation_file
from echofm_core.contract import Phase, Weights
from echofm_core.data.manifest import Split, load_manifest
from echofm_core.data.prepare import Prepared
from echofm_core.data.splits import label_count
from echofm_core.data.training_record import record_training
from echofm_core.evaluation.config import Baseline
from echofm_core.evaluation.model_names import (
    ALONE,
    FEDERATED,
    LAST_STEP,
    LEAVE_ONE_OUT,
    LOCAL,
    NO_PRETRAINING,
    PERSONAL,
    POOLED,
)
from echofm_core.plan.document import Plan
from echofm_core.plan.federation import Aggregation
from echofm_core.plan.section import Section
from echofm_core.run_claim import STUDY
from echofm_core.runtime.errors import FederationError
from echofm_core.runtime.files import write_whole
from echofm_core.runtime.names import EVERY_SITE
from echofm_core.tasks import Task
from echofm_core.training.label_share import as_trained
from echofm_core.training.personal import PersonalConfig
from server.ending import FederationResult, RunOptions
from server.evaluation import evaluate_sites
from server.events import OnEvent
from server.live_steps import OnStep, ignore_step
from server.rounds import run_federation
from simulations.engine import Engine, SiteSettings
from simulations.prepare import lent, pooled_manifest, site_manifest, unlabelled_name


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

        Where work is counted in steps, pooled data take as many in a round as all their sites
        together, so that each model of a table has seen as many windows.
        """
        most = min(plan.federation.min_sites, self.trainers)
        own: dict[str, object] = {"min_sites": most}
        if len(self.train) == 1 and plan.federation.aggregation is Aggregation.QFEDAVG:
            # The same model, and the site need not have validation patients.
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
    return arms, notes


@dataclass(frozen=True, slots=True)
class Training:
    """Where arms are trained, and on what."""

    run: Path
    """Run folder; it holds the sites' manifests."""
    plan: Plan
    prepared: Prepared
    engine: Engine
    resume: bool
    """Go on where an earlier run of the same plan stopped."""
    start: Path | None = None
    """Folder of weights that training begins with in place of the plan's, if any."""
    weights: Weights = field(default_factory=dict)
    """These weights."""

    def train(self, arm: Arm, on_event: OnEvent, on_step: OnStep = ignore_step) -> FederationResult:
        """One federation, then its model on every test site that the table needs.

        Raises:
            FederationError: A round had too few updates, or a site could not be tested.
            EchoFMError: Anything else that the plan, the data or a round can get wrong.
        """
        plan, folder = arm.plan(self.plan), arm.folder(self.run)
        result = self.fit(arm, plan, folder, on_event, on_step)
        rows = predictions_of(arm, folder, plan)
        if arm.test:
            self._keep(arm.name, rows)
        for own in own_models(plan) if arm.name == FEDERATED else ():
            other = predictions_of(replace(arm, model=own, tested=own), folder, plan)
            if len(other):
                self._keep(own, other)
        keep_validation(arm, folder, plan, self.run)
        return result

    def _keep(self, name: str, rows: pd.DataFrame) -> None:
        out = self.run / "predictions" / f"{name.replace(':', '-')}.parquet"
        write_whole(out, rows.to_parquet(index=False))

    def fit(
        self, arm: Arm, plan: Plan, folder: Path, on_event: OnEvent, on_step: OnStep = ignore_step
    ) -> FederationResult:
        """Train an arm by a plan in a folder, and test it; sites keep their predictions there.

        Raises:
            FederationError: A round had too few updates, or a site could not be tested.
        """
        machine = self.plan.machine
        files = [self._manifest(site, arm.given) for site in arm.train]
        rows = pd.concat([load_manifest(file) for file in files], ignore_index=True)
        record_training(
            folder,
            as_trained(rows, plan),
            plan.digest(),
            secret=machine.secret,
            start=self.start or (Path(machine.start) if machine.start else None),
            pinned=bool(plan.model.start),
        )
        result = run_federation(
            self._grid(arm.train, folder, arm.given),
            plan,
            folder,
            resume=self.resume and (folder / "journal").exists(),
            on_event=on_event,
            options=RunOptions(
                arm=arm.name,
                tracking_store=self.run / "mlruns",
                start=self.weights,
                on_step=on_step,
            ),
        )
        # Its own sites were tested at the end of the run; the table also needs the others.
        others = [site for site in arm.test if site not in arm.train or site in arm.given]
        if others:
            evaluate_sites(self._grid(others, folder), plan, result.weights)
        return result

    def _manifest(self, site: str, given: Mapping[str, str]) -> Path:
        """Of a site's training: its own, all sites' or the one that it is given."""
        if site == EVERY_SITE:
            return pooled_manifest(self.run, self.plan)
        return site_manifest(self.run, given.get(site, site))

    def _grid(
        self, sites: Sequence[str], folder: Path, given: Mapping[str, str] = MappingProxyType({})
    ) -> Grid:
        states = {site: folder / "sites" / site for site in sites}
        return self.engine.grid(
            [
                SiteSettings(
                    name=site,
                    manifest=self._manifest(site, given),
                    store=self.prepared.stores,
                    state=state,
                    log=log_name(state, self.run),
                )
                for site, state in states.items()
            ]
        )


def log_name(state: Path, run: Path) -> str:
    """How messages name the log of a site with this state: from the folder that the user gave.

    That is the run's, or that of the study which the run is a part of.
    """
    base = next((up for up in run.parents if (up / STUDY).exists()), run)
    return f"{os.path.relpath(state / LOG, base)} of the run folder"


def own_models(plan: Plan) -> tuple[str, ...]:
    """Models that each site of a plan has of its own, beside the shipped one."""
    personal = plan.personal
    return (PERSONAL,) * bool(personal.ditto) + (LAST_STEP,) * bool(personal.last_steps)


def predictions_of(arm: Arm, folder: Path, plan: Plan) -> pd.DataFrame:
    """What the sites of an arm wrote at home, by its model; a task nobody trained is left out.

    A site that did not train has no model of its own, and is left out where that is tested.

    Raises:
        FederationError: A site was not tested.
    """
    parts = []
    for site in arm.test:
        home = folder / "sites" / site / plan.run_name()
        path = home / predictions_file(arm.tested)
        if arm.tested and not path.exists() and (home / predictions_file()).exists():
            continue
        if not path.exists():
            raise FederationError(
                f"model {arm.name} was not tested at {site}; {folder}/evaluation.json "
                "says why: mend it and go on with --resume."
            )
        rows = pd.read_parquet(path)
        parts.append(rows[rows["task"].isin([task.value for task in arm.tasks])])
    return pd.concat(parts).assign(model=arm.model) if parts else pd.DataFrame()


def keep_validation(arm: Arm, folder: Path, plan: Plan, run: Path) -> None:
    """``validation/ARM.parquet`` in the run folder: what conformal intervals are found on.

    Validation patients of the sites that trained with their own labels, for the models that the
    page looks at; a site without test labels was not asked, and has none.
    """
    if arm.model not in (FEDERATED, LEAVE_ONE_OUT, ALONE):
        return
    if len(rows := validation_of(arm, folder, plan)):
        out = run / "validation" / f"{arm.name.replace(':', '-')}.parquet"
        write_whole(out, rows.to_parquet(index=False))


def validation_of(arm: Arm, folder: Path, plan: Plan) -> pd.DataFrame:
    """What an arm's model predicts for validation patients, as sites wrote it; may be empty.

    Of the sites that trained with their own labels, and of no other: not of one that was left out,
    that no model may see, or that lent its clips alone. A site without test labels was not asked.
    """
    homes = [
        folder / "sites" / site / plan.run_name() for site in arm.train if site not in arm.given
    ]
    paths = [home / validation_file(arm.tested) for home in homes]
    parts = [pd.read_parquet(path) for path in paths if path.exists()]
    known = [part for part in parts if len(part)]
    return pd.concat(known, ignore_index=True) if known else pd.DataFrame()
