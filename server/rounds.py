"""A whole federation: who is there, pre-training, fine-tuning, and its end.

Reading order: :func:`run_federation` tells the story; ``server/phase.py`` is its round loop, and
``server/ending.py`` tests the model and writes what stays.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from flwr.serverapp import Grid

from echofm_core.contract import TEACHER, VALIDATION, Phase, Weights
from echofm_core.models.local_names import local_names
from echofm_core.models.lora import merged, require_adapters
from echofm_core.plan.document import Plan
from echofm_core.plan.federation import Select
from echofm_core.run_claim import PLAN, has_rounds
from echofm_core.runtime.file_lock import role_lock
from echofm_core.runtime.files import write_whole
from echofm_core.tracking._api import TrackedRound
from echofm_core.tracking.listener import Tracking, require_trackers
from echofm_core.training.objectives.finetune import frozen_groups
from echofm_core.training.stages import Stage
from server.aggregation.own_rule import own_rule
from server.aggregation.rule_errors import checked_state, naming_own_rule
from server.ending import FederationResult, RunOptions, finish
from server.events import Event, EventKind, OnEvent, ignore, round_event
from server.handover import first_weights, handed_on, result_of
from server.journal import CONTROL_NORM, Entry, Journal
from server.live_steps import OnStep
from server.metrics import tracked
from server.norm_bound import recent_norms
from server.phase import algorithm_of, train_phase
from server.phase_run import Attendance, Participant, PhaseRun
from server.reception import Reception
from server.run import Run
from server.share_final import share_final
from server.sites import gather, participants_of
from server.unlearned import unlearned_tasks
from server.validation import Losses, Validation, mean

#: Seconds that a phase waits for answers of sites that are asked anew as it begins.
LATE = 30.0


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
        PlanError: The plan's own aggregation rule cannot be used, or fails as it runs.
        EnvironmentClashError: A tracker of the plan, or peft for its adapters, is not installed.
        ResumeError: The folder holds a run and ``resume`` is false, or the plan differs.
        FederationError: Too few sites are there, or a round has too few usable updates.
        CheckpointError: The weights to begin with do not fit, or a checkpoint is damaged.
    """
    options = options or RunOptions()
    require_trackers(plan.machine.track)
    require_adapters(plan.finetune)
    own_rule(plan)  # its errors come before any site is asked
    with role_lock(folder, "coordinator"), naming_own_rule(plan):
        journal = Journal(folder, plan.digest())
        journal.open(resume=resume)
        if not ((folder / PLAN).exists() and has_rounds(folder)):  # else it is that of the rounds
            write_whole(folder / PLAN, plan.to_toml().encode())
        run = Run(grid, plan, folder)
        reception = Reception(run, options.members)
        gather(reception, on_event, wait_seconds=options.wait_seconds)
        journal.describe(reception.descriptions())
        if plan.finetune.rounds:  # checked before pre-training, which takes hours
            tasks, least = plan.finetune.tasks, plan.federation.min_sites
            participants_of(reception.sites, Phase.FINETUNE, tasks, least)
        weights: Weights = {}
        with Tracking(plan, folder, arm=options.arm, store=options.tracking_store) as tracking:
            federation = _Federation(run, reception, journal, tracking, on_event, options.on_step)
            for phase in Phase:
                if plan.rounds_of(phase):
                    # The next phase begins from the checkpoint, so that one model is in memory.
                    weights = {}
                    weights = federation.train(phase, options.start)
        if plan.personal.share_final:
            participants = participants_of(reception.sites, Phase.FINETUNE, tasks, least)
            weights = share_final(run, weights, participants)
        weights = merged(weights, plan.finetune.lora)
        return finish(run, weights, journal, reception.sites, options, on_event)


def pretrained_encoder(folder: Path, plan: Plan) -> Weights:
    """Shared groups that pre-training ended with, from a run folder; empty without any."""
    return result_of(Journal(folder, plan.digest()), plan, Phase.PRETRAIN)


@dataclass(frozen=True, slots=True)
class _Federation:
    """A run whose sites are there, or enough of them."""

    run: Run
    reception: Reception
    journal: Journal
    tracking: Tracking
    on_event: OnEvent
    on_step: OnStep

    def train(self, phase: Phase, start: Weights) -> Weights:
        """One phase, from its beginning or from where the journal ends; what it comes to."""
        plan = self.run.plan
        weights: Weights = {}
        for stage in plan.table_of(phase).stages():
            # It begins from the checkpoint of the one before, so that one model is in memory.
            weights = {}
            weights = self._train_stage(phase, stage, start)
        if plan.federation.select is Select.LAST:
            return handed_on(weights)
        del weights
        return result_of(self.journal, plan, phase)

    def _train_stage(self, phase: Phase, stage: Stage, start: Weights) -> Weights:
        """One stage, or what is left of it; what the phase has come to then."""
        plan = self.run.plan
        rounds = plan.rounds_of(phase)
        done, weights = self.journal.last(phase, rounds)
        for entry in self.journal.entries():
            if entry.phase is phase and stage.first <= entry.round <= min(done, stage.last):
                self.tracking.add(tracked(entry))
                self.on_event(round_event(entry, rounds, replayed=True))
        if done > stage.last:
            return weights
        validation = self._validation(phase, stage, done)
        if done < stage.last or validation.due(done, last=True):
            self.journal.forget_after(phase, done)
            self._admit_late()
            spec = self._spec(phase, stage, done)
            algorithm = algorithm_of(spec)
            begun = done >= stage.first
            if begun:
                algorithm.restore(self.journal.state(phase, done))
            else:
                weights = {}  # of the stage before
            if not self.reception.at_once:
                attend = partial(self._attend, spec, late=algorithm.takes_late_sites)
                spec = replace(spec, attend=attend)

            def keep(entry: Entry, weights: Weights) -> None:
                if entry.round == rounds or validation.exhausted(entry.round):
                    hardly = unlearned_tasks([*self.journal.entries(), entry], plan)
                    entry = replace(entry, warnings=hardly)
                state = checked_state(algorithm.state()) if spec.own_rule else algorithm.state()
                self.journal.record(entry, weights, state, best=validation.best())
                self.tracking.add(tracked(entry))

            weights = train_phase(
                self.run.grid,
                weights if begun else first_weights(plan, phase, stage, self.journal, start),
                spec,
                on_round=keep,
                on_event=self.on_event,
                algorithm=algorithm,
                validation=validation,
            )
        return weights

    def _spec(self, phase: Phase, stage: Stage, done: int) -> PhaseRun:
        plan, entries = self.run.plan, self.journal.entries()
        frozen = frozen_groups(plan.finetune) if phase is Phase.FINETUNE else frozenset[str]()
        exact = phase is Phase.FINETUNE and plan.finetune.exact_adapters
        return PhaseRun(
            phase=phase,
            rounds=plan.rounds_of(phase),
            first=done + 1,
            last=stage.last,
            participants=self._participants(phase),
            federation=plan.federation,
            plan=plan.to_json(),
            plan_hash=plan.digest(),
            run=self.run.plan.run_name(),
            steps_within=plan.table_of(phase).steps_within,
            own_rule=own_rule(plan),
            scratch=self.run.scratch,
            frozen=frozenset({TEACHER}) if stage.latent else frozen,
            local=local_names(plan) if phase is Phase.FINETUNE else frozenset(),
            exact_scale=plan.finetune.lora.scale if exact else 0.0,
            recent=recent_norms(entries, phase, done, first=stage.first),
            recent_control=recent_norms(entries, phase, done, CONTROL_NORM, stage.first),
            on_step=self.on_step,
        )

    def _admit_late(self) -> None:
        """As a phase begins, ask anew who declined or has come since, and wait a moment."""
        reception, until = self.reception, time.monotonic() + LATE
        if reception.at_once:
            return
        new = set(reception.look(again=True))
        while reception.pending and (left := until - time.monotonic()) > 0:
            new |= set(reception.look(wait=left))
        if new:
            self._joined(Event(kind=EventKind.JOINED, sites=tuple(sorted(new))))

    def _attend(self, spec: PhaseRun, number: int, *, late: bool) -> Attendance:
        """Who takes part in a round: where the rule allows it, those too who have come late."""
        new, absent = self.reception.look(), self.reception.absent()
        if new:
            event = Event(kind=EventKind.JOINED, sites=new, phase=spec.phase.value)
            self._joined(replace(event, round=number, rounds=spec.rounds) if late else event)
        now: Mapping[str, Participant] = self._participants(spec.phase)
        if not late:
            others = sorted(now.keys() - spec.participants.keys())
            absent |= dict.fromkeys(others, "it came late, and takes part from the next phase on.")
            now = spec.participants
        return Attendance(participants=now, absent=absent)

    def _joined(self, event: Event) -> None:
        self.journal.describe(self.reception.descriptions())
        self.on_event(event)

    def _participants(self, phase: Phase) -> dict[str, Participant]:
        plan = self.run.plan
        least = plan.federation.min_sites
        return participants_of(self.reception.sites, phase, plan.finetune.tasks, least)

    def _validation(self, phase: Phase, stage: Stage, done: int) -> Validation:
        """What is known of the stage's rounds, and kept of those that follow."""

        def keep(number: int, losses: Losses) -> None:
            self.journal.validated(phase, number, losses)
            found = {VALIDATION: mean(losses)}
            self.tracking.add(TrackedRound(phase=phase, round=number, metrics=found))

        plan = self.run.plan
        return Validation(
            every=plan.federation.validate_every if plan.validates else 0,
            # A teacher has all of its rounds.
            patience=plan.table_of(phase).patience if stage.last == plan.rounds_of(phase) else 0,
            first=stage.first,
            losses=self.journal.losses(phase, done, stage.first),
            keep=keep,
        )
