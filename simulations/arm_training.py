"""Trains an arm as a federation in a folder, and tests it where the table needs it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import pandas as pd
from flwr.serverapp import Grid

from client.answers import LOG
from echofm_core.contract import Weights
from echofm_core.data.manifest import load_manifest
from echofm_core.data.prepare import Prepared
from echofm_core.data.training_record import record_training
from echofm_core.evaluation.model_names import FEDERATED
from echofm_core.plan.document import Plan
from echofm_core.run_claim import STUDY
from echofm_core.runtime.files import write_whole
from echofm_core.runtime.names import EVERY_SITE
from echofm_core.training.label_share import as_trained
from server.ending import FederationResult, RunOptions
from server.evaluation import evaluate_sites
from server.events import OnEvent
from server.live_steps import OnStep, ignore_step
from server.rounds import run_federation
from simulations.arm_predictions import keep_validation, own_models, predictions_of
from simulations.arms import Arm
from simulations.engine import Engine, SiteSettings
from simulations.prepare import pooled_manifest, site_manifest


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
