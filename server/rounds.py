"""A whole federation: who is there, pre-training, fine-tuning, and its end.

Reading order: :func:`run_federation` tells the story; ``server/phase.py`` is its round loop, and
``server/ending.py`` tests the model and writes what stays.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from flwr.serverapp import Grid

from echofm_core.contract import (
    DECODER,
    ENCODER,
    HEADS,
    LORA_A,
    LORA_B,
    STF_NET,
    Phase,
    Weights,
)
from echofm_core.pages.files import write_whole
from echofm_core.plan.document import Plan
from echofm_core.run_claim import PLAN, has_rounds
from echofm_core.runtime.held_file import alone_in
from echofm_core.tracking.listener import Tracking, require_trackers
from server.ending import Ending, FederationResult, finish
from server.events import Event, EventKind, OnEvent, ignore
from server.journal import Entry, Journal
from server.phase import Participant, PhaseRun, algorithm_of, round_event, train_phase
from server.sites import Site, gather_sites, participants_of
from server.tracked import tracked
from server.unlearned import unlearned_tasks, unseen_clips

__all__ = [
    "Event",
    "EventKind",
    "FederationResult",
    "Participant",
    "PhaseRun",
    "pretrained_encoder",
    "run_federation",
    "run_name",
    "train_phase",
]


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
    from echofm_core.models.lora import merged, require_adapters

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
        weights = merged(weights, plan.finetune.lora)
        warned = _warn(journal, sites, plan, tell)
        end = Ending(folder=folder, run=run, arm=arm, warnings=warned, floor=floor, tell=tell)
        return finish(grid, plan, weights, sites, journal.entries(), end)


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

    algorithm = algorithm_of(spec)
    algorithm.restore(journal.state(phase, done))

    def keep(entry: Entry, weights: Weights) -> None:
        if entry.round == rounds:
            entry = replace(entry, warnings=unlearned_tasks([*journal.entries(), entry]))
        journal.record(entry, weights, algorithm.state())
        tracking.add(tracked(entry))

    return train_phase(
        grid,
        weights if done else _initial(plan, phase, journal),
        spec,
        on_round=keep,
        on_event=tell,
        algorithm=algorithm,
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
    from echofm_core.training.objectives.freeze import frozen_groups

    return frozenset() if phase is Phase.PRETRAIN else frozen_groups(plan.finetune)


def _keep_plan(plan: Plan, folder: Path) -> None:
    """Write ``plan.toml``; one that a finished round belongs to stays."""
    path = folder / PLAN
    if not (path.exists() and has_rounds(folder)):
        write_whole(path, plan.to_toml().encode())
