"""The round loop of one phase: send, take replies in order, fold, write down, go on.

Symptom: a sum that depends on who answered first, or a round that one dead site holds up for ever.
Reason: floats add up differently in another order, and a network gives no sign of an end. Protocol:
every free site gets the same model; replies are admitted and folded in the order of site names
(``intake.py``), one in memory at a time; at the deadline, or when its node has died, a site that
has not answered is left out and named. With too few usable updates the phase ends, and nothing of
the round is written. What can still go wrong: a site that answers after the deadline stays busy,
and misses the next round too.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from types import MappingProxyType

import numpy as np
from flwr.app import ArrayRecord, Message
from flwr.serverapp import Grid
from numpy.typing import NDArray

from echofm_core.contract import (
    LOCAL_STEPS,
    TRAIN,
    VALIDATE,
    VALIDATION,
    Action,
    Instruction,
    Phase,
    Update,
    Weights,
    group_of,
)
from echofm_core.live.states import Doing
from echofm_core.plan.federation import Stragglers
from echofm_core.post_processing import post_processing
from echofm_core.runtime.checksum import digest
from echofm_core.runtime.errors import FederationError, RefusedUpdateError
from echofm_core.runtime.text import many
from server.admission import Expected, check_identity, check_metrics
from server.aggregation import Algorithm, build_algorithm
from server.aggregation.exact_adapters import ExactAdapters, layers_below
from server.aggregation.own_rule import check_model
from server.aggregation.rule_errors import check_fold
from server.events import Event, EventKind, OnEvent, ignore, round_event
from server.intake import Intake
from server.journal import CONTROL_NORM, UPDATE_NORM, Entry
from server.live_steps import answered, asked
from server.norm_bound import LEAST, RECENT, NormBound, norms_of
from server.phase_run import Participant, PhaseRun
from server.replies import Pace, Patience, Replies
from server.run import open_replies
from server.validation import Validation, mean
from server.wire import (
    FrozenPart,
    WiredModel,
    bytes_of,
    read_reply,
    reasons,
    sentence,
    split_frozen,
    to_message,
    wired,
)

#: Called after each round with its entry and the new global weights, before the next begins.
OnRound = Callable[[Entry, Weights], None]


def train_phase(
    grid: Grid,
    weights: Weights,
    spec: PhaseRun,
    *,
    on_round: OnRound | None = None,
    on_event: OnEvent = ignore,
    algorithm: Algorithm | None = None,
    validation: Validation | None = None,
) -> Weights:
    """Train the shared groups over the rounds of a phase, or of a stage of it.

    Args:
        grid: Where the sites are.
        weights: Shared groups to begin with, float32.
        spec: What to run.
        on_round: Keeps journal and checkpoint; without it the weights' digest is not taken.
        on_event: Shows progress.
        algorithm: The rule, where it goes on from an earlier round or its state is kept;
            :func:`algorithm_of` builds it.
        validation: What sites report on validation patients, and when that ends the phase.

    Returns:
        The shared groups after the last round. At most three copies of them are in memory at
        any time: what the sites start from, the running sum, and the reply that is being added.

    Raises:
        FederationError: A round ended with fewer than ``min_sites`` usable updates.
    """
    steps = post_processing(spec.federation)
    below = layers_below(weights) if spec.exact_scale else frozenset()
    frozen, moving = split_frozen(weights, spec.frozen | spec.local, steps, below)
    model = wired(dict(moving), steps, below)
    del weights, moving
    validation, done = validation or Validation(), spec.first - 1
    recent = {UPDATE_NORM: deque(spec.recent, RECENT)}
    recent[CONTROL_NORM] = deque(spec.recent_control, RECENT)
    with closing(open_replies(grid, spec.scratch)) as replies:
        loop = _Loop(spec, algorithm or algorithm_of(spec), replies, frozen)
        while done < (spec.last or spec.rounds) and not validation.exhausted(done):
            started, number = time.monotonic(), done + 1
            loop = loop.attended(number)
            norms = {metric: [*chain(*rounds)] for metric, rounds in recent.items()}
            validate = validation.due(done)
            entry, new, losses = loop.run(model, number, started, norms, validate=validate)
            for metric, rounds in recent.items():
                rounds.append(norms_of(entry, metric))
            validation.add(done, losses)
            model = wired(new, steps, below)
            whole = {**frozen.current, **model.current}
            name = digest(whole) if on_round else ""
            entry = replace(entry, digest=name, seconds=round(time.monotonic() - started, 3))
            if on_round:
                on_round(entry, whole)
            on_event(round_event(entry, spec.rounds, validation=mean(losses)))
            done = number
        if validation.due(done, last=True):
            losses, refused = loop.validate(model, done + 1)
            if losses:
                validation.add(done, losses)
            if losses or refused:
                event = Event(kind=EventKind.VALIDATED, phase=spec.phase.value, refused=refused)
                event = replace(event, sites=tuple(losses), validation=mean(losses))
                on_event(replace(event, round=done, rounds=spec.rounds))
    return {**frozen.current, **model.current}


def algorithm_of(spec: PhaseRun) -> Algorithm:
    """The aggregation rule of a phase, as it begins."""
    announced = _announced(spec.participants)
    return build_algorithm(spec.federation, announced, spec.phase, spec.scratch, spec.own_rule)


def _announced(participants: Mapping[str, Participant]) -> dict[str, Mapping[str, int]]:
    return {site: participant.most for site, participant in participants.items()}


@dataclass(frozen=True, slots=True)
class _Loop:
    """What the rounds of a phase share."""

    spec: PhaseRun
    algorithm: Algorithm
    replies: Replies
    frozen: FrozenPart
    absent: Mapping[str, str] = field(default_factory=dict)

    def attended(self, number: int) -> "_Loop":
        """The loop with those who are there as a round begins."""
        if self.spec.attend is None:
            return self
        now = self.spec.attend(number)
        announced = _announced(now.participants)
        if announced != _announced(self.spec.participants):  # one that came back may have others
            self.algorithm.announce(announced, self.spec.phase)
        spec = replace(self.spec, participants=now.participants)
        return replace(self, spec=spec, absent=now.absent)

    def run(
        self,
        model: WiredModel,
        number: int,
        started: float,
        recent: Mapping[str, Sequence[float]],
        *,
        validate: bool,
    ) -> tuple[Entry, dict[str, NDArray[np.float32]], dict[str, float]]:
        """One round: its entry, the new weights, and what sites found of those it began with."""
        algorithm, config, phase = self.algorithm, self.spec.federation, self.spec.phase
        patience = Patience(seconds=config.deadline_seconds, started=started)
        absent, on_step = {**self.absent, **self._away(patience)}, self.spec.on_step
        settings = {
            site: {**algorithm.instruct(site), VALIDATE: float(validate)}
            for site in sorted(self.spec.participants.keys() - absent.keys())
        }
        messages = self._messages(settings, model, number, algorithm.arrays())
        fold = algorithm.start(model.sent, model.current)
        if self.spec.own_rule:
            check_fold(fold)
        if scale := self.spec.exact_scale:
            fold = ExactAdapters(fold, model.sent, model.current, algorithm.shares, scale)
        own = algorithm.reply_arrays(model.sent)
        ratio = config.max_norm_ratio if len(self.spec.participants) >= LEAST else 0.0
        bound = NormBound(ratio=ratio, recent=recent[UPDATE_NORM])
        what = "its control variate changes by {}"
        intake = Intake(
            fold,
            (bound, replace(bound, recent=recent[CONTROL_NORM], what=what)),
            lambda site: self._expected(site, model.sent, number, own),
            self.replies.set_aside,
            {site: bytes_of(message) for site, message in messages.items()},
        )
        if config.stragglers is Stragglers.DROP:
            pace = Pace(factor=config.straggler_factor, least=config.straggler_seconds)
            enough = partial(intake.has, config.min_sites)
            patience = replace(patience, pace=pace, enough=enough)
        on_step(asked(Doing(phase), messages, absent, number, self.spec.rounds))
        for site, reply in self.replies.collect(messages, patience):
            intake.take(site, reply)
            on_step(answered(site, reply, intake.refused.get(site, "")))
            # The bytes of this reply are not needed while the next one is made.
            del reply
        intake.finish()
        sites, refused = intake.sites, {**absent, **intake.refused}
        for site in messages:
            self.frozen.record_reply(site, counted=site in sites)
        if len(sites) < (needed := config.min_sites):
            raise FederationError(
                f"{phase.value} round {number} has {many(len(sites), 'usable update')}, "
                f"federation.min_sites is {needed} ({reasons(refused) or 'no site was asked'}); "
                "mend the sites and go on with --resume.",
                refused,
                intake.codes,
            )
        plan_hash = self.spec.plan_hash
        entry = Entry(phase=phase, round=number, plan_hash=plan_hash, sites=sites, refused=refused)
        new = fold.finish()
        if self.spec.own_rule:
            check_model(new, model.current)
        return entry, new, intake.losses if validate else {}

    def validate(self, model: WiredModel, number: int) -> tuple[dict[str, float], dict[str, str]]:
        """What sites find of the phase's last result, which no further round would tell.

        A site that is busy, late or in error is left out: its absence costs no round.

        Returns:
            Losses by site, and why there is none of a site that was asked and has not answered
            well.
        """
        free = set(self.spec.participants) - self.replies.busy()
        messages = self._messages({it: {VALIDATE: 1.0, TRAIN: 0.0} for it in free}, model, number)
        patience = Patience(seconds=self.spec.federation.deadline_seconds)
        losses, refused = dict[str, float](), dict[str, str]()
        self.spec.on_step(asked(Doing.VALIDATE, messages, self.absent))
        for site, reply in self.replies.collect(messages, patience):
            try:
                update = read_reply(reply, Update)
                if VALIDATION in update.metrics:
                    check_identity(update, self._expected(site, model.sent, number))
                    check_metrics(update.metrics)
                    losses[site] = update.metrics[VALIDATION]
            except RefusedUpdateError as error:
                refused[site] = sentence(error)
            self.spec.on_step(answered(site, reply))
        return dict(sorted(losses.items())), dict(sorted(refused.items()))

    def _messages(
        self,
        settings: Mapping[str, Mapping[str, float]],
        model: WiredModel,
        number: int,
        extra: Weights = MappingProxyType({}),
    ) -> dict[str, Message]:
        """A round's instruction for each site that has settings; ``extra`` is the rule's own."""
        spec = self.spec
        beside = {**wired(dict(extra), ()).record, **model.below}
        arrays = ArrayRecord(beside) if beside else None
        instruction = Instruction(
            action=Action.PRETRAIN if spec.phase is Phase.PRETRAIN else Action.FINETUNE,
            round=number,
            plan=spec.plan,
            plan_hash=spec.plan_hash,
            run=spec.run,
            frozen_digest=self.frozen.digest,
        )
        return {
            site: to_message(
                replace(instruction, settings=numbers),
                model.record,
                spec.participants[site].node,
                spec.federation.deadline_seconds,
                self.frozen.record_for(site),
                arrays,
            )
            for site, numbers in settings.items()
        }

    def _away(self, patience: Patience) -> dict[str, str]:
        """Sites that cannot be asked, with the reasons.

        Waits for a quorum of the others, and a moment for a site that has just gone.
        """
        nodes = {site: it.node for site, it in self.spec.participants.items()}
        needed = min(self.spec.federation.min_sites, len(nodes))
        while True:
            busy = dict.fromkeys(self.replies.busy(), "still busy with an earlier round.")
            away = busy | self.replies.absent(nodes)
            # A short deadline is the time of those that are there.
            wait = self.replies.returning(nodes) and patience.left() > 0.75 * patience.seconds
            enough = len(nodes) - len(away) >= needed and not wait
            if enough or patience.left() <= 0:
                return dict(sorted(away.items()))
            time.sleep(0.1)

    def _expected(
        self, site: str, sent: Weights, number: int, own: Weights = MappingProxyType({})
    ) -> Expected:
        most, numbers = self.spec.participants[site].most, {**self.algorithm.reply_numbers}
        if LOCAL_STEPS in numbers:
            fewest, steps = self.spec.steps_within(max(most.values(), default=0))
            numbers[LOCAL_STEPS] = (float(fewest), float(steps))
        return Expected(
            site=site,
            phase=self.spec.phase,
            round=number,
            plan_hash=self.spec.plan_hash,
            sent=sent,
            most=most,
            max_norm=self.spec.federation.max_update_norm,
            max_clips=self.spec.federation.max_clips,
            extra=own,
            numbers=numbers,
            local={group_of(name) for name in self.spec.local},
        )
