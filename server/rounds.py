"""A whole federation: who is there, pre-training, fine-tuning, and its end.

Reading order: :func:`run_federation` tells the story; ``server/phase.py`` is its round loop, and
``server/ending.py`` tests the model and writes what stays.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from flwr.serverapp import Grid

from echofm_core.contract import VALIDATION, Phase, Weights
from echofm_core.models.lora import merged, require_adapters
from echofm_core.plan.document import Plan
from echofm_core.plan.federation import Select
from echofm_core.run_claim import PLAN, has_rounds
from echofm_core.runtime.file_lock import role_lock
from echofm_core.runtime.files import write_whole
from echofm_core.tracking._api import TrackedRound
from echofm_core.tracking.listener import Tracking, require_trackers
from echofm_core.training.objectives.finetune import frozen_groups
from server.ending import FederationResult, RunOptions, finish
from server.events import OnEvent, ignore, round_event
from server.handover import first_weights, result_of
from server.journal import Entry, Journal
from server.metrics import tracked
from server.norm_bound import recent_norms
from server.phase import PhaseRun, algorithm_of, train_phase
from server.run import Run
from server.sites import Site, gather_sites, participants_of
from server.unlearned import unlearned_tasks
from server.validation import Losses, Validation, mean


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
    options = options or RunOptions()
    require_trackers(plan.machine.track)
    require_adapters(plan.finetune)
    with role_lock(folder, "coordinator"):
        journal = Journal(folder, plan.digest())
        journal.open(resume=resume)
        if not ((folder / PLAN).exists() and has_rounds(folder)):  # else it is that of the rounds
            write_whole(folder / PLAN, plan.to_toml().encode())
        run = Run(grid, plan, folder)
        sites = gather_sites(
            run, on_event, members=options.members, wait_seconds=options.wait_seconds
        )
        journal.describe({name: site.about for name, site in sites.items()})
        if plan.finetune.rounds:  # checked before pre-training, which takes hours
            tasks, least = plan.finetune.tasks, plan.federation.min_sites
            participants_of(sites, Phase.FINETUNE, tasks, least)
        weights: Weights = {}
        with Tracking(plan, folder, arm=options.arm, store=options.tracking_store) as tracking:
            federation = _Federation(run, sites, journal, tracking, on_event)
            for phase in Phase:
                if plan.rounds_of(phase):
                    # The next phase begins from the checkpoint, so that one model is in memory.
                    weights = {}
                    weights = federation.train(phase, options.start)
        weights = merged(weights, plan.finetune.lora)
        return finish(run, weights, journal, sites, options, on_event)


def pretrained_encoder(folder: Path, plan: Plan) -> Weights:
    """Shared groups that pre-training ended with, from a run folder; empty without any."""
    journal, rounds = Journal(folder, plan.digest()), plan.pretrain.rounds
    return result_of(journal, Phase.PRETRAIN, rounds, plan.federation.select)


@dataclass(frozen=True, slots=True)
class _Federation:
    """A run whose sites are there."""

    run: Run
    sites: Mapping[str, Site]
    journal: Journal
    tracking: Tracking
    on_event: OnEvent

    def train(self, phase: Phase, start: Weights) -> Weights:
        """One phase, from its beginning or from where the journal ends; what it comes to."""
        plan = self.run.plan
        rounds = plan.rounds_of(phase)
        done, weights = self.journal.last(phase, rounds)
        for entry in self.journal.entries():
            if entry.phase is phase and entry.round <= done:
                self.tracking.add(tracked(entry))
                self.on_event(round_event(entry, rounds, replayed=True))
        validation = self._validation(phase, done)
        if done < rounds or validation.due(done, last=True):
            self.journal.forget_after(phase, done)
            spec = self._spec(phase, done)
            algorithm = algorithm_of(spec)
            algorithm.restore(self.journal.state(phase, done))

            def keep(entry: Entry, weights: Weights) -> None:
                if entry.round == rounds or validation.exhausted(entry.round):
                    hardly = unlearned_tasks([*self.journal.entries(), entry])
                    entry = replace(entry, warnings=hardly)
                self.journal.record(entry, weights, algorithm.state(), best=validation.best())
                self.tracking.add(tracked(entry))

            weights = train_phase(
                self.run.grid,
                weights if done else first_weights(plan, phase, self.journal, start),
                spec,
                on_round=keep,
                on_event=self.on_event,
                algorithm=algorithm,
                validation=validation,
            )
        if plan.federation.select is Select.LAST:
            return weights
        del weights
        return result_of(self.journal, phase, rounds, plan.federation.select)

    def _spec(self, phase: Phase, done: int) -> PhaseRun:
        plan, least = self.run.plan, self.run.plan.federation.min_sites
        return PhaseRun(
            phase=phase,
            rounds=plan.rounds_of(phase),
            first=done + 1,
            participants=participants_of(self.sites, phase, plan.finetune.tasks, least),
            federation=plan.federation,
            plan=plan.to_json(),
            plan_hash=plan.digest(),
            run=self.run.plan.run_name(),
            scratch=self.run.scratch,
            frozen=frozen_groups(plan.finetune) if phase is Phase.FINETUNE else frozenset(),
            recent=recent_norms(self.journal.entries(), phase, done),
        )

    def _validation(self, phase: Phase, done: int) -> Validation:
        """What is known of the phase's rounds, and kept of those that follow."""

        def keep(number: int, losses: Losses) -> None:
            self.journal.validated(phase, number, losses)
            found = {VALIDATION: mean(losses)}
            self.tracking.add(TrackedRound(phase=phase, round=number, metrics=found))

        plan = self.run.plan
        return Validation(
            every=plan.federation.validate_every if plan.validates else 0,
            patience=plan.table_of(phase).patience,
            losses=self.journal.losses(phase, done),
            keep=keep,
        )
