"""A whole federation: who is there, pre-training, fine-tuning, and its end.

Reading order: :func:`run_federation` tells the story; ``server/phase.py`` is its round loop, and
``server/ending.py`` tests the model and writes what stays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from flwr.serverapp import Grid

from echofm_core.contract import (
    VALIDATION,
    Phase,
    Weights,
)
from echofm_core.models.lora import merged, require_adapters
from echofm_core.plan.document import Plan
from echofm_core.plan.federation import Select
from echofm_core.run_claim import PLAN, has_rounds
from echofm_core.runtime.file_lock import role_lock
from echofm_core.runtime.files import write_whole
from echofm_core.tracking._api import TrackedRound
from echofm_core.tracking.listener import Tracking, require_trackers
from echofm_core.training.config import frozen_groups
from server.ending import Ending, FederationResult, finish
from server.events import Event, EventKind, OnEvent, ignore, round_event
from server.handover import chosen_rounds, first_weights, losses_of, result_of
from server.journal import Entry, Journal
from server.metrics import tracked
from server.phase import Participant, PhaseRun, algorithm_of, train_phase
from server.sites import Site, gather_sites, participants_of
from server.unlearned import unlearned_tasks, unseen_clips
from server.validation import Losses, Validation, mean

__all__ = [
    "Event",
    "EventKind",
    "FederationResult",
    "Participant",
    "PhaseRun",
    "RunOptions",
    "pretrained_encoder",
    "run_federation",
    "run_name",
    "train_phase",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """How a federation is begun and shown; a plan says what it trains.

    Attributes:
        arm: Name of this model in ``metrics.parquet``.
        expected_sites: Sites to wait for; without names, ``federation.min_sites`` of any name.
        wait_seconds: How long to wait for them.
        tracking_store: Folder of the local MLflow store, where several runs share one.
        floor: Have each site score what needs no network beside the model.
        start: Weights that the first phase begins with, whole groups, in place of those that the
            plan starts from.
    """

    arm: str = "federated"
    expected_sites: Sequence[str] = ()
    wait_seconds: float = 600.0
    tracking_store: Path | None = None
    floor: bool = False
    start: Weights = field(default_factory=dict)


def run_federation(
    grid: Grid,
    plan: Plan,
    folder: Path,
    *,
    resume: bool = False,
    on_event: OnEvent = ignore,
    options: RunOptions | None = None,
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
        options: What is not the plan's.

    Raises:
        EnvironmentClashError: A tracker of the plan, or peft for its adapters, is not installed.
        ResumeError: The folder holds a run and ``resume`` is false, or the plan differs.
        FederationError: Too few sites are there, or a round has too few usable updates.
        CheckpointError: The weights to begin with do not fit, or a checkpoint is damaged.
    """
    options, run, scratch = options or RunOptions(), run_name(plan), folder / "scratch"
    require_trackers(plan.machine.track)
    require_adapters(plan.finetune)
    with role_lock(folder, "coordinator"):
        journal = Journal(folder, plan.digest())
        journal.open(resume=resume)
        _keep_plan(plan, folder)
        sites = gather_sites(
            grid,
            plan,
            run,
            scratch,
            on_event,
            expected=options.expected_sites,
            wait_seconds=options.wait_seconds,
        )
        if plan.finetune.rounds:  # said before pre-training, which takes hours
            participants_of(sites, plan, Phase.FINETUNE)
        weights: Weights = {}
        with Tracking(plan, folder, arm=options.arm, store=options.tracking_store) as tracking:
            federation = _Federation(
                grid=grid,
                plan=plan,
                folder=folder,
                sites=sites,
                journal=journal,
                tracking=tracking,
                tell=on_event,
            )
            for phase in Phase:
                if plan.rounds_of(phase):
                    # The next phase begins from the checkpoint, so that one model is in memory.
                    weights = {}
                    weights = federation.train(phase, options.start)
        weights = merged(weights, plan.finetune.lora)
        warned = _warn(journal, sites, plan, on_event)
        end = Ending(
            folder=folder,
            run=run,
            arm=options.arm,
            warnings=warned,
            notes=chosen_rounds(journal, plan),
            floor=options.floor,
            tell=on_event,
        )
        return finish(grid, plan, weights, sites, journal.entries(), end)


def run_name(plan: Plan) -> str:
    """Name of a plan's state folder at each site: two plans never share one."""
    return f"{plan.name}-{plan.digest()[:8]}"


def pretrained_encoder(folder: Path, plan: Plan) -> Weights:
    """Shared groups that pre-training ended with, from a run folder; empty without any."""
    return result_of(Journal(folder, plan.digest()), plan, Phase.PRETRAIN)[1]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Federation:
    """A run whose sites are there."""

    grid: Grid
    plan: Plan
    folder: Path
    sites: Mapping[str, Site]
    journal: Journal
    tracking: Tracking
    tell: OnEvent

    def train(self, phase: Phase, start: Weights) -> Weights:
        """One phase, from its beginning or from where the journal ends; what it comes to."""
        rounds = self.plan.rounds_of(phase)
        done, weights = self.journal.last(phase, rounds)
        for entry in self.journal.entries():
            if entry.phase is phase and entry.round <= done:
                self.tracking.add(tracked(entry))
                self.tell(round_event(entry, rounds, replayed=True))
        validation = self._validation(phase, done)
        if done < rounds or validation.due(done, last=True):
            self.journal.forget_after(phase, done)
            spec = self._spec(phase, done)
            algorithm = algorithm_of(spec)
            algorithm.restore(self.journal.state(phase, done))

            def keep(entry: Entry, weights: Weights) -> None:
                if entry.round == rounds or validation.exhausted(entry.round):
                    entry = replace(
                        entry, warnings=unlearned_tasks([*self.journal.entries(), entry])
                    )
                self.journal.record(entry, weights, algorithm.state(), best=validation.best())
                self.tracking.add(tracked(entry))

            weights = train_phase(
                self.grid,
                weights if done else first_weights(self.plan, phase, self.journal, start),
                spec,
                on_round=keep,
                on_event=self.tell,
                algorithm=algorithm,
                validation=validation,
            )
        if self.plan.federation.select is Select.LAST:
            return weights
        del weights
        return result_of(self.journal, self.plan, phase)[1]

    def _spec(self, phase: Phase, done: int) -> PhaseRun:
        plan = self.plan
        return PhaseRun(
            phase=phase,
            rounds=plan.rounds_of(phase),
            first=done + 1,
            participants=participants_of(self.sites, plan, phase),
            federation=plan.federation,
            plan=plan.to_json(),
            plan_hash=plan.digest(),
            run=run_name(plan),
            scratch=self.folder / "scratch",
            frozen=frozen_groups(plan.finetune) if phase is Phase.FINETUNE else frozenset(),
        )

    def _validation(self, phase: Phase, done: int) -> Validation:
        """What is known of the phase's rounds, and kept of those that follow."""

        def keep(number: int, losses: Losses) -> None:
            self.journal.validated(phase, number, losses)
            found = {VALIDATION: mean(losses)}
            self.tracking.add(TrackedRound(phase=phase, round=number, metrics=found))

        return Validation(
            every=self.plan.federation.validate_every if self.plan.validates else 0,
            patience=self.plan.table_of(phase).patience,
            losses=losses_of(self.journal, phase, done),
            keep=keep,
        )


def _warn(
    journal: Journal, sites: Mapping[str, Site], plan: Plan, tell: OnEvent
) -> tuple[str, ...]:
    """Tell what sites have hardly learnt or seen, and return it as sentences."""
    unseen = unseen_clips({name: site.about for name, site in sites.items()}, plan.finetune)
    unlearned = [entry.warnings for entry in journal.entries()]
    found = [each for each in (*unlearned, unseen) if each]
    for each in found:
        tell(Event(kind=EventKind.WARNED, phase=Phase.FINETUNE.value, warnings=each))
    return tuple(f"{site}: {what}" for each in found for site, what in each.items())


def _keep_plan(plan: Plan, folder: Path) -> None:
    """Write ``plan.toml``; one that a finished round belongs to stays."""
    path = folder / PLAN
    if not (path.exists() and has_rounds(folder)):
        write_whole(path, plan.to_toml().encode())
