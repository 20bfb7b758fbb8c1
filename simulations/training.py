"""One arm of a run on this machine: a federation of its sites, and its model at every test site."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from echofm_core.contract import Weights
from echofm_core.data.prepare import Prepared
from echofm_core.data.training_record import record_training
from echofm_core.plan.document import Plan
from echofm_core.runtime.errors import FederationError
from echofm_core.runtime.files import write_whole
from server.ending import FederationResult
from server.evaluation import evaluate_sites
from server.events import OnEvent
from server.rounds import RunOptions, run_federation, run_name
from simulations.arms import EVERYTHING, Arm
from simulations.engine import Engine, SiteSettings
from simulations.prepare import site_manifest

#: State folder name of the evaluation that fills the site x model table.
CROSS = "cross"


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """Where arms are trained, and on what.

    Attributes:
        run: Run folder; it holds the sites' manifests.
        plan: What to do.
        prepared: Sites and stores.
        engine: Plays the sites.
        resume: Go on where an earlier run of the same plan stopped.
        start: Folder of weights that training begins with in place of the plan's, if any.
        weights: These weights.
    """

    run: Path
    plan: Plan
    prepared: Prepared
    engine: Engine
    resume: bool
    start: Path | None = None
    weights: Weights = field(default_factory=dict)

    def train(self, arm: Arm, on_event: OnEvent) -> FederationResult:
        """One federation, then its model on every test site that the table needs.

        Raises:
            FederationError: A round had too few updates, or a site could not be tested.
            EchoFMError: Anything else that the plan, the data or a round can get wrong.
        """
        plan, folder, machine = arm.plan(self.plan), arm.folder(self.run), self.plan.machine
        begun = self.start or (Path(machine.start) if machine.start else None)
        record_training(
            folder,
            self._clips(arm),
            plan.digest(),
            secret=machine.secret,
            start=begun,
            pinned=bool(plan.model.start),
        )
        store = self.run / "mlruns"
        result = run_federation(
            self.engine.grid(self._settings(arm, arm.train)),
            plan,
            folder,
            resume=self.resume and (folder / "journal").exists(),
            on_event=on_event,
            options=RunOptions(arm=arm.name, tracking_store=store, start=self.weights),
        )
        # Its own sites were tested at the end of the run; the table also needs the others.
        others = [site for site in arm.test if site not in arm.train]
        if others and arm.train != (EVERYTHING,):
            evaluate_sites(
                self.engine.grid(self._settings(arm, others)), plan, result.weights, run=CROSS
            )
        self._collect_predictions(arm, plan)
        return result

    def _settings(self, arm: Arm, sites: Sequence[str]) -> list[SiteSettings]:
        return [
            SiteSettings(
                name=site,
                manifest=site_manifest(self.run, site),
                store=self.prepared.stores,
                state=arm.folder(self.run) / "sites" / site,
            )
            for site in sites
        ]

    def _clips(self, arm: Arm) -> pd.DataFrame:
        """Clips of the sites that an arm trains on."""
        rows = self.prepared.manifest
        everything = arm.train == (EVERYTHING,)
        return rows if everything else rows[rows["site"].isin(list(arm.train))]

    def _collect_predictions(self, arm: Arm, plan: Plan) -> None:
        """Gather what the sites wrote at home; a task nobody trained is left out."""
        parts = []
        for site in arm.train if arm.train == (EVERYTHING,) else arm.test:
            kept = run_name(plan) if site in arm.train else CROSS
            folder = arm.folder(self.run)
            path = folder / "sites" / site / kept / "predictions.parquet"
            if not path.exists():
                raise FederationError(
                    f"model {arm.name} was not tested at {site}; {folder}/evaluation.json "
                    "says why: mend it and go on with --resume."
                )
            rows = pd.read_parquet(path)
            parts.append(rows[rows["task"].isin([task.value for task in arm.tasks])])
        if not parts:
            return
        out = self.run / "predictions" / f"{arm.name.replace(':', '-')}.parquet"
        write_whole(out, pd.concat(parts).assign(model=arm.model).to_parquet(index=False))
