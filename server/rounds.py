"""A whole federation: who is there, pre-training, fine-tuning, test, and what stays on disk.

Reading order: :func:`run_federation` tells the story; ``server/phase.py`` is its round loop.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from flwr.serverapp import Grid

from echofm_core.checksum import digest
from echofm_core.contract import (
    DECODER,
    ENCODER,
    HEADS,
    LORA_A,
    LORA_B,
    STF_NET,
    Phase,
    SiteDescription,
    SiteResult,
    Weights,
)
from echofm_core.errors import FederationError
from echofm_core.plan import Plan
from echofm_core.plural import many
from echofm_core.run_claim import has_rounds
from echofm_core.runtime.held_file import alone_in
from echofm_core.tracking.listener import Tracking, require_trackers
from server.evaluation import evaluate
from server.events import Event, EventKind, OnEvent, ignore
from server.journal import Entry, Journal, write_json
from server.metrics_table import metrics_table
from server.phase import Participant, PhaseRun, round_event, train_phase
from server.sites import Site, gather_sites, participants_of
from server.tracked import tracked
from server.unlearned import unlearned_tasks, unseen_clips

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Event",
    "EventKind",
    "FederationResult",
    "Participant",
    "PhaseRun",
    "evaluate_sites",
    "pretrained_encoder",
    "run_federation",
    "run_name",
    "train_phase",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class FederationResult:
    """What a federation ends with.

    Attributes:
        weights: Shared groups of the final model, float32, adapters merged; after pre-training
            alone the encoder.
        digest: Their digest.
        site_results: Test scores, in site order.
        failed: Site -> why its test did not count.
        sites: Site -> what it said of itself.
        seconds: Wall time of all rounds, those before an interruption too, and of the test.
        metrics: Columns arm, phase, round, site, metric, value.
        warnings: A sentence for each site with a task hardly learnt, or with clips never seen.
    """

    weights: Weights
    digest: str
    site_results: tuple[SiteResult, ...]
    failed: Mapping[str, str]
    sites: Mapping[str, SiteDescription]
    seconds: float
    metrics: pd.DataFrame
    warnings: tuple[str, ...] = ()


def run_federation(
    grid: Grid,
    plan: Plan,
    folder: Path,
    *,
    resume: bool = False,
    on_event: OnEvent | None = None,
    arm: str = "federated",
    expected_sites: Sequence[str] = (),
    wait_seconds: float = 600.0,
    tracking_store: Path | None = None,
    floor: bool = False,
) -> FederationResult:
    """Run both phases of a plan over the sites of a grid, then test the model at each.

    The folder then holds ``journal/``, ``checkpoints/``, ``metrics.parquet``, ``plan.toml`` and
    ``model/model.safetensors``. Killed at any instant and resumed, the weights are bitwise those
    of an uninterrupted run.

    Args:
        grid: Where the sites are: in this process or behind a SuperLink.
        plan: What to do.
        folder: Run folder.
        resume: Go on where the folder's journal ends.
        on_event: Shows progress.
        arm: Name of this model in ``metrics.parquet``.
        expected_sites: Sites to wait for; without names, ``federation.min_sites`` of any name.
        wait_seconds: How long to wait for them.
        tracking_store: Folder of the local MLflow store, where several runs share one.
        floor: Have each site score what needs no network beside the model.

    Raises:
        EnvironmentClashError: A tracker of the plan, or peft for its adapters, is not installed.
        ResumeError: The folder holds a run and ``resume`` is false, or the plan differs.
        FederationError: Too few sites are there, or a round has too few usable updates.
    """
    from echofm_core.models.lora import require_adapters

    tell, run, scratch = on_event or ignore, run_name(plan), folder / "scratch"
    require_trackers(plan)
    require_adapters(plan)
    with alone_in(folder, "coordinator"):
        journal = Journal(folder, plan.digest())
        journal.open(resume=resume)
        _keep_plan(plan, folder)
        sites = gather_sites(
            grid, plan, run, scratch, tell, expected=expected_sites, wait_seconds=wait_seconds
        )
        if plan.finetune.rounds:  # said before pre-training, which takes hours
            participants_of(sites, plan, Phase.FINETUNE)
        weights: Weights = {}
        with Tracking(plan, folder, arm=arm, store=tracking_store) as tracking:
            for phase in Phase:
                if _rounds(plan, phase):
                    # The next phase begins from the checkpoint, so that one model is in memory.
                    weights = {}
                    weights = _run_phase(grid, plan, phase, sites, journal, folder, tell, tracking)
        warned = _warn(journal, sites, plan, tell)
        weights = _plain(plan, weights)
        started = time.monotonic()
        results: list[SiteResult] = []
        failed: dict[str, str] = {}
        if plan.finetune.rounds:
            results, failed = _test(grid, plan, weights, sites, folder, tell, run, floor)
        entries = journal.entries()
        seconds = sum(entry.seconds for entry in entries) + time.monotonic() - started
        metrics = metrics_table(arm, entries, results)
        _write_outcome(folder, plan, weights, entries, metrics)
        shutil.rmtree(scratch, ignore_errors=True)
        return FederationResult(
            weights=weights,
            digest=digest(weights),
            site_results=tuple(results),
            failed=failed,
            sites={site: found.about for site, found in sites.items()},
            seconds=round(seconds, 1),
            metrics=metrics,
            warnings=warned,
        )


def evaluate_sites(grid: Grid, plan: Plan, weights: Weights, *, run: str) -> list[SiteResult]:
    """Test a model at every site of a grid that has test labels for a planned task.

    Args:
        grid: Any sites, whether they trained the model or not.
        plan: What the model is, and which tasks count.
        weights: Encoder, STF-Net and heads.
        run: Each site keeps its predictions in this folder of its state folder.

    Raises:
        FederationError: A site could not answer.
    """
    with tempfile.TemporaryDirectory(prefix="echofm-") as scratch:
        sites = gather_sites(grid, plan, run, Path(scratch), ignore, least=1)
        results, failed = evaluate(grid, plan, weights, sites, run, Path(scratch))
    if failed:
        reasons = "; ".join(f"{site}: {why.rstrip('.')}" for site, why in failed.items())
        raise FederationError(f"{many(len(failed), 'site')} could not be evaluated ({reasons}).")
    return results


def run_name(plan: Plan) -> str:
    """Name of a plan's state folder at each site: two plans never share one."""
    return f"{plan.name}-{plan.digest()[:8]}"


def pretrained_encoder(folder: Path, plan: Plan) -> Weights:
    """Shared groups after pre-training, from a run folder's checkpoints; empty without any."""
    return Journal(folder, plan.digest()).last(Phase.PRETRAIN, plan.pretrain.rounds)[1]


def _rounds(plan: Plan, phase: Phase) -> int:
    return plan.pretrain.rounds if phase is Phase.PRETRAIN else plan.finetune.rounds


def _run_phase(
    grid: Grid,
    plan: Plan,
    phase: Phase,
    sites: Mapping[str, Site],
    journal: Journal,
    folder: Path,
    tell: OnEvent,
    tracking: Tracking,
) -> Weights:
    """One phase, from its beginning or from where the journal ends."""
    rounds = _rounds(plan, phase)
    done, weights = journal.last(phase, rounds)
    for entry in journal.entries():
        if entry.phase is phase and entry.round <= done:
            tracking.add(tracked(entry))
            tell(round_event(entry, rounds, replayed=True))
    if done == rounds:
        return weights
    journal.forget_after(phase, done)
    spec = PhaseRun(
        phase=phase,
        rounds=rounds,
        first=done + 1,
        participants=participants_of(sites, plan, phase),
        federation=plan.federation,
        plan=plan.to_json(),
        plan_hash=plan.digest(),
        run=run_name(plan),
        scratch=folder / "scratch",
        frozen=_frozen(plan, phase),
    )

    def keep(entry: Entry, weights: Weights) -> None:
        if entry.round == rounds:
            entry = replace(entry, warnings=unlearned_tasks([*journal.entries(), entry]))
        journal.record(entry, weights)
        tracking.add(tracked(entry))

    return train_phase(
        grid,
        weights if done else _initial(plan, phase, journal),
        spec,
        on_round=keep,
        on_event=tell,
    )


def _warn(
    journal: Journal, sites: Mapping[str, Site], plan: Plan, tell: OnEvent
) -> tuple[str, ...]:
    """Tell what sites have hardly learnt or seen, and return it as sentences."""
    unseen = unseen_clips({name: site.about for name, site in sites.items()}, plan)
    unlearned = [entry.warnings for entry in journal.entries()]
    found = [each for each in (*unlearned, unseen) if each]
    for each in found:
        tell(Event(kind=EventKind.WARNED, phase=Phase.FINETUNE.value, warnings=each))
    return tuple(f"{site}: {what}" for each in found for site, what in each.items())


def _initial(plan: Plan, phase: Phase, journal: Journal) -> Weights:
    """Weights that a phase starts from: by the plan's seed, or the encoder from the phase before.

    Before there is one, the encoder (and a shared decoder) may be that of ``machine.start``.
    """
    from echofm_core.models.build import build_autoencoder, build_tuned_model
    from echofm_core.models.checkpoints.start import start_weights
    from echofm_core.models.lora import untrained_notes
    from echofm_core.models.weights import to_arrays

    if phase is Phase.PRETRAIN:
        shared = [ENCODER, DECODER] if plan.pretrain.share_decoder else [ENCODER]
        return {**to_arrays(build_autoencoder(plan), shared), **start_weights(plan, shared)}
    start = to_arrays(build_tuned_model(plan), [ENCODER, LORA_A, LORA_B, STF_NET, HEADS])
    before = journal.last(Phase.PRETRAIN, plan.pretrain.rounds)[1] or start_weights(plan)
    for note in untrained_notes(plan):
        warnings.warn(note, RuntimeWarning, stacklevel=2)
    return {name: before.get(name, array) for name, array in start.items()}


def _frozen(plan: Plan, phase: Phase) -> frozenset[str]:
    """Groups that no site changes in a phase."""
    from echofm_core.training.freeze import frozen_groups

    return frozenset() if phase is Phase.PRETRAIN else frozen_groups(plan.finetune)


def _plain(plan: Plan, weights: Weights) -> Weights:
    """The final model as everything else reads it: without adapters."""
    from echofm_core.models.lora import merged

    return merged(weights, plan.finetune.lora)


def _test(
    grid: Grid,
    plan: Plan,
    weights: Weights,
    sites: Mapping[str, Site],
    folder: Path,
    tell: OnEvent,
    run: str,
    floor: bool,
) -> tuple[list[SiteResult], dict[str, str]]:
    """Test the final model; a site that fails is named, and its row is missing."""
    started = time.monotonic()
    results, failed = evaluate(grid, plan, weights, sites, run, folder / "scratch", floor=floor)
    seconds = round(time.monotonic() - started, 3)
    outcome = {"sites": [_told(result) for result in results], "failed": failed}
    write_json(folder / "evaluation.json", {**outcome, "plan_hash": plan.digest()})
    names = tuple(result.site for result in results)
    tell(Event(kind=EventKind.EVALUATED, sites=names, refused=failed, seconds=seconds))
    return results, failed


def _told(result: SiteResult) -> dict[str, object]:
    """A result for a JSON file, which knows no NaN: not defined is null."""
    scores = {
        name: [value if math.isfinite(value) else None for value in astuple(score)]
        for name, score in result.scores.items()
    }
    return {**asdict(result), "scores": scores}


def _keep_plan(plan: Plan, folder: Path) -> None:
    """Write ``plan.toml``; one that a finished round belongs to stays."""
    path = folder / "plan.toml"
    if not (path.exists() and has_rounds(folder)):
        partial = folder / f".plan.{os.getpid()}"
        partial.write_text(plan.to_toml(), encoding="utf-8")
        partial.replace(path)


def _write_outcome(
    folder: Path, plan: Plan, weights: Weights, entries: Sequence[Entry], metrics: pd.DataFrame
) -> None:
    """Write the final model and the table of metrics."""
    from echofm_core.models.saved import save_model, trained_tasks

    groups = {group for entry in entries for site in entry.sites.values() for group in site.counts}
    save_model(folder / "model", weights, plan, trained_tasks(groups))
    partial = folder / f".metrics.parquet.{os.getpid()}"
    metrics.to_parquet(partial, index=False)
    partial.replace(folder / "metrics.parquet")
