"""One experiment: prepare sites, train every arm, evaluate, and write the run folder.

Reading order: :func:`run_experiment` tells the whole story; the rest are its steps.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from echofm_core import __version__
from echofm_core.data.census import census, unlabelled_notes
from echofm_core.data.seen import remember
from echofm_core.evaluation.card import write_card
from echofm_core.evaluation.model_names import FEDERATED
from echofm_core.models.lora import untrained_notes
from echofm_core.phantom.patients import is_phantom
from echofm_core.plan.document import Plan
from echofm_core.plan.preflight import require_machine
from echofm_core.privacy.spent import spent
from echofm_core.report import write_report
from echofm_core.report.run_files import read_run
from echofm_core.report.run_scores import score_run
from echofm_core.report.words import words_of
from echofm_core.run_claim import claim, held, look
from echofm_core.runtime.console import Meter, console, progress
from echofm_core.runtime.errors import FederationError
from echofm_core.runtime.files import write_whole
from echofm_core.runtime.sessions import Sessions
from echofm_core.runtime.signals import thread_pool
from server.ending import FederationResult
from server.evaluation import evaluate_sites
from server.events import Event
from server.rounds import RunOptions, run_federation, run_name
from simulations.arms import EVERYTHING, Arm, plan_arms
from simulations.engine import Engine, SiteSettings
from simulations.floor import write_floor
from simulations.pictures import draw_pictures
from simulations.prepare import (
    PreparedSites,
    mirrored_notes,
    prepare_sites,
    save_sites,
    site_manifest,
)
from simulations.protocols.assign import RULES

#: State folder name of the evaluation that fills the site x model table.
CROSS = "cross"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What an experiment leaves behind.

    Attributes:
        run: The run folder.
        scores: Columns model, site, task, metric, value, low, high, patients.
        digest: Digest of the federated model.
        report: Path of ``report.html``.
        notes: What a reader of the table must know and was not told before training.
    """

    run: Path
    scores: pd.DataFrame
    digest: str
    report: Path
    notes: tuple[str, ...]


def run_experiment(plan: Plan, run: Path, *, resume: bool = False) -> Outcome:
    """Train a federation and its reference models on split public data, and report.

    Args:
        plan: What to do; ``machine`` says where and with how many workers.
        run: Run folder; new, or an interrupted one with ``resume``.
        resume: Go on where an earlier run of the same plan stopped.

    Raises:
        ResumeError: The folder holds a run, and ``resume`` is not given or the plan differs.
        EchoFMError: Anything that the plan, the data or a round can get wrong.
    """
    sessions = Sessions(run)
    look(run, plan, resume=resume)
    require_machine(plan)
    prepared = prepare_sites(plan, _cache(plan, run))
    with held(run):
        claim(run, plan, resume=resume)
        return _carry_out(plan, run, prepared, sessions, resume)


def _carry_out(
    plan: Plan, run: Path, prepared: PreparedSites, sessions: Sessions, resume: bool
) -> Outcome:
    """Train, test and report, in a folder that is ours."""
    save_sites(prepared, plan, run)
    arms, notes = plan_arms(prepared.manifest, plan)
    notes = [RULES[plan.protocol.name].caveat, *mirrored_notes(prepared, plan), *notes]
    notes += untrained_notes(plan)
    for note in unlabelled_notes(prepared.manifest, plan):  # the verdict says it in its own words
        console.print(f"note: {note}")
    sessions.tick()
    results = _train(plan, run, prepared, arms, sessions, resume)
    write_floor(plan, run, prepared)
    scores = score_run(run, plan)
    digest = results[FEDERATED].digest
    told = [*notes, *results[FEDERATED].notes, *results[FEDERATED].warnings]
    draw_pictures(plan, run, prepared)
    summary = {
        "name": plan.name,
        "plan_hash": plan.digest(),
        "digest": digest,
        "seconds": sessions.tick(),
        "origin": "Trained on public data, split by site on one machine.",
        "synthetic": any(is_phantom(Path(root)) for root in plan.machine.roots),
        "versions": _versions(),
        "notes": told,
        "privacy": spent(pd.read_parquet(run / "metrics.parquet"), plan.privacy.delta),
    }
    write_whole(run / "summary.json", json.dumps(summary, indent=1).encode())
    own, words = scores[scores["model"] == FEDERATED], words_of(read_run(run))
    counts = census(prepared.manifest, plan)
    write_card(run, plan, counts, own, summary, [*words.table_notes, *told], words.sentences)
    report = write_report(run)
    return Outcome(run=run, scores=scores, digest=digest, report=report, notes=tuple(notes))


def _cache(plan: Plan, run: Path) -> Path:
    return Path(plan.machine.cache) if plan.machine.cache else run / "cache"


def _train(
    plan: Plan,
    run: Path,
    prepared: PreparedSites,
    arms: Sequence[Arm],
    sessions: Sessions,
    resume: bool,
) -> dict[str, FederationResult]:
    """Train and test all arms; as many at once as there are workers."""
    rounds = plan.pretrain.rounds + plan.finetune.rounds
    workers = plan.machine.workers
    with (
        Engine(
            workers=workers,
            threads=plan.machine.threads,
            device=plan.machine.device,
            devices=plan.machine.devices,
        ) as engine,
        progress("training", rounds * len(arms)) as meter,
        thread_pool(min(workers, len(arms))) as pool,
    ):

        def one(arm: Arm) -> FederationResult:
            return _run_arm(arm, plan, run, prepared, engine, meter, sessions, resume)

        futures = {arm.name: pool.submit(one, arm) for arm in arms}
        return {name: future.result() for name, future in futures.items()}


def _run_arm(
    arm: Arm,
    plan: Plan,
    run: Path,
    prepared: PreparedSites,
    engine: Engine,
    meter: Meter,
    sessions: Sessions,
    resume: bool,
) -> FederationResult:
    """One federation, then its model on every test site that the table needs."""
    folder = arm.folder(run)

    def settings(sites: Sequence[str]) -> list[SiteSettings]:
        return [
            SiteSettings(
                name=site,
                manifest=site_manifest(run, site),
                store=prepared.stores,
                state=folder / "sites" / site,
            )
            for site in sites
        ]

    def show(event: Event) -> None:
        if event.round_done:
            sessions.tick()
            meter.advance(1, note=arm.name)
        if arm.name == FEDERATED and (event.round_done or event.warnings):
            console.print(event.line())

    remember(
        folder,
        _clips_of(arm, prepared),
        arm.plan(plan),
        secret=plan.machine.secret,
        start=Path(plan.machine.start) if plan.machine.start else None,
    )
    result = run_federation(
        engine.grid(settings(arm.train)),
        arm.plan(plan),
        folder,
        resume=resume and (folder / "journal").exists(),
        on_event=show,
        options=RunOptions(arm=arm.name, tracking_store=run / "mlruns"),
    )
    # Its own sites were tested at the end of the run; the table also needs the others.
    others = [site for site in arm.test if site not in arm.train]
    if others and arm.train != (EVERYTHING,):
        evaluate_sites(engine.grid(settings(others)), arm.plan(plan), result.weights, run=CROSS)
    _collect_predictions(arm, plan, run)
    return result


def _clips_of(arm: Arm, prepared: PreparedSites) -> pd.DataFrame:
    """Clips of the sites that an arm trains on."""
    everything = arm.train == (EVERYTHING,)
    rows = prepared.manifest
    return rows if everything else rows[rows["site"].isin(list(arm.train))]


def _collect_predictions(arm: Arm, plan: Plan, run: Path) -> None:
    """Gather what the simulated sites wrote at home; a task nobody trained is left out.

    Raises:
        FederationError: A site was not tested.
    """
    parts = []
    homes = arm.train if arm.train == (EVERYTHING,) else arm.test
    for site in homes:
        kept = run_name(arm.plan(plan)) if site in arm.train else CROSS
        path = arm.folder(run) / "sites" / site / kept / "predictions.parquet"
        if not path.exists():
            raise FederationError(
                f"model {arm.name} was not tested at {site}; {arm.folder(run)}/evaluation.json "
                "says why: mend it and go on with --resume."
            )
        rows = pd.read_parquet(path)
        parts.append(rows[rows["task"].isin([task.value for task in arm.tasks])])
    if not parts:
        return
    out = run / "predictions" / f"{arm.name.replace(':', '-')}.parquet"
    write_whole(out, pd.concat(parts).assign(model=arm.model).to_parquet(index=False))


def _versions() -> dict[str, str]:
    names = ("flwr", "torch", "timm", "opacus", "pydicom")
    return {
        "echofm-federated": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in names},
    }
