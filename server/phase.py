"""The round loop of one phase: send, take replies in order, fold, write down, go on."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from flwr.app import Message
from flwr.serverapp import Grid
from numpy.typing import NDArray

from echofm_core.contract import (
    TRAIN,
    VALIDATE,
    VALIDATION,
    Action,
    Instruction,
    Phase,
    Update,
    Weights,
)
from echofm_core.plan.federation import FederationConfig
from echofm_core.post_processing import post_processing
from echofm_core.runtime.checksum import digest
from echofm_core.runtime.errors import FederationError, RefusedUpdateError
from echofm_core.runtime.text import many
from server.admission import Expected, admit, check_identity
from server.aggregation import build_algorithm
from server.aggregation._api import Algorithm, Fold
from server.events import Event, EventKind, OnEvent, ignore, round_event
from server.frozen import FrozenPart, split_frozen
from server.journal import Entry, SiteEntry
from server.replies import Replies, open_replies
from server.validation import Validation, mean
from server.wire import WiredModel, read_reply, sentence, to_message, wired

#: Seconds that a message outlives its round, for clocks that differ.
GRACE = 60.0

#: Called after each round with its entry and the new global weights, before the next begins.
OnRound = Callable[[Entry, Weights], None]

ACTIONS = {Phase.PRETRAIN: Action.PRETRAIN, Phase.FINETUNE: Action.FINETUNE}


@dataclass(frozen=True, kw_only=True, slots=True)
class Participant:
    """A site that takes part in a phase.

    Attributes:
        node: Flower's node id.
        most: Parameter group -> most clips the site can have behind it; empty: not checked.
    """

    node: int
    most: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseRun:
    """All that the loop needs to know.

    Attributes:
        phase, rounds: What to run, how often.
        first: First round to run; greater than 1 when resuming.
        participants: Site name -> participant.
        federation: Aggregation rule, weights, quorum, deadline, wire precision, norm bound.
        plan, plan_hash, run: Passed on to the sites, see :class:`Instruction`.
        scratch: Folder where early replies wait.
        frozen: Groups that the phase leaves as they are: sent to a site once.
    """

    phase: Phase
    rounds: int
    first: int = 1
    participants: Mapping[str, Participant]
    federation: FederationConfig
    plan: str
    plan_hash: str
    run: str
    scratch: Path
    frozen: frozenset[str] = frozenset()


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
    """Train the shared groups over the rounds of a phase.

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
    algorithm = algorithm or algorithm_of(spec)
    steps = post_processing(spec.federation)
    frozen, moving = split_frozen(weights, spec.frozen, steps)
    model = wired(dict(moving), steps)
    del weights, moving
    validation, done = validation or Validation(), spec.first - 1
    replies = open_replies(grid, spec.scratch)
    try:
        for number in range(spec.first, spec.rounds + 1):
            if validation.exhausted(done):
                break
            started, ask = time.monotonic(), validation.due(done)
            state = _run_round(replies, algorithm, model, frozen, spec, number, started, ask)
            validation.add(done, state.validation)
            model = wired(state.weights, steps)
            whole = {**frozen.current, **model.current}
            entry = Entry(
                phase=spec.phase,
                round=number,
                plan_hash=spec.plan_hash,
                sites=state.sites,
                refused=state.refused,
                digest=digest(whole) if on_round else "",
                seconds=round(time.monotonic() - started, 3),
            )
            if on_round:
                on_round(entry, whole)
            on_event(round_event(entry, spec.rounds, validation=mean(state.validation)))
            done = number
        if validation.due(done, last=True):
            losses = _validate(replies, model, frozen, spec, done + 1)
            validation.add(done, losses)
            if losses:
                on_event(
                    Event(
                        kind=EventKind.VALIDATED,
                        phase=spec.phase.value,
                        round=done,
                        rounds=spec.rounds,
                        sites=tuple(losses),
                        validation=mean(losses),
                    )
                )
    finally:
        replies.close()
    return {**frozen.current, **model.current}


def algorithm_of(spec: PhaseRun) -> Algorithm:
    """The aggregation rule of a phase, as it begins."""
    announced = {site: participant.most for site, participant in spec.participants.items()}
    return build_algorithm(spec.federation, announced, spec.phase, spec.scratch)


@dataclass(slots=True)
class _Round:
    """A round while it runs: who counted, who did not, and at its end the new weights.

    ``validation`` is what sites found of the weights that the round began with.
    """

    sites: dict[str, SiteEntry] = field(default_factory=dict)
    validation: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    weights: dict[str, NDArray[np.float32]] = field(default_factory=dict)


def _run_round(
    replies: Replies,
    algorithm: Algorithm,
    model: WiredModel,
    frozen: FrozenPart,
    spec: PhaseRun,
    number: int,
    started: float,
    validate: bool,
) -> _Round:
    """One round, from sending to the new weights."""
    config = spec.federation
    deadline = started + config.deadline_seconds
    state = _Round()
    free = _free_sites(replies, spec, deadline, state)
    settings = {site: {**algorithm.instruct(site), VALIDATE: float(validate)} for site in free}
    messages = _messages(settings, model, frozen, spec, number, algorithm.arrays())
    fold = algorithm.start(model.sent, model.current)
    for site, reply in replies.collect(messages, deadline):
        if reply is None:
            state.refused[site] = f"no reply within {config.deadline_seconds:g} s."
            frozen.record_reply(site, counted=False)
            continue
        try:
            expected = _expected(site, model.sent, spec, number)
            own = algorithm.reply_arrays(model.sent)
            expected = replace(expected, extra=own, numbers=algorithm.reply_numbers)
            state.sites[site], loss = _take(reply, expected, fold)
            if validate and loss is not None:
                state.validation[site] = loss
        except RefusedUpdateError as error:
            state.refused[site] = sentence(error)
        frozen.record_reply(site, counted=site in state.sites)
        # The bytes of this reply are not needed while the next one is made.
        del reply
    _check_quorum(state, spec, number)
    state.weights = fold.finish()
    return state


def _messages(
    settings: Mapping[str, Mapping[str, float]],
    model: WiredModel,
    frozen: FrozenPart,
    spec: PhaseRun,
    number: int,
    extra: Weights = MappingProxyType({}),
) -> dict[str, Message]:
    """The instruction of a round, for each site that has settings; ``extra`` is the rule's own."""
    arrays = wired(dict(extra), ()).record if extra else None
    instruction = Instruction(
        action=ACTIONS[spec.phase],
        round=number,
        plan=spec.plan,
        plan_hash=spec.plan_hash,
        run=spec.run,
        frozen_digest=frozen.digest,
    )
    return {
        site: to_message(
            replace(instruction, settings=numbers),
            model.record,
            spec.participants[site].node,
            spec.federation.deadline_seconds + GRACE,
            frozen.record_for(site),
            arrays,
        )
        for site, numbers in settings.items()
    }


def _validate(
    replies: Replies, model: WiredModel, frozen: FrozenPart, spec: PhaseRun, number: int
) -> dict[str, float]:
    """What sites find of the phase's last result, which no further round would tell.

    A site that is busy, late or in error is left out: its absence costs no round.
    """
    free = set(spec.participants) - replies.busy()
    settings = {site: {VALIDATE: 1.0, TRAIN: 0.0} for site in free}
    messages = _messages(settings, model, frozen, spec, number)
    deadline = time.monotonic() + spec.federation.deadline_seconds
    losses: dict[str, float] = {}
    for site, reply in replies.collect(messages, deadline):
        try:
            update = read_reply(reply, Update) if reply else None
            if update and VALIDATION in update.metrics:
                check_identity(update, _expected(site, model.sent, spec, number))
                losses[site] = update.metrics[VALIDATION]
        except RefusedUpdateError:
            continue
    return losses


def _free_sites(replies: Replies, spec: PhaseRun, deadline: float, state: _Round) -> list[str]:
    """Participants that are not still busy with a closed round; waits for a quorum of them."""
    while True:
        busy = replies.busy()
        free = [site for site in sorted(spec.participants) if site not in busy]
        if len(free) >= min(spec.federation.min_sites, len(spec.participants)):
            break
        if time.monotonic() >= deadline:
            break
        time.sleep(0.1)
    for site in sorted(set(spec.participants) - set(free)):
        state.refused[site] = "still busy with an earlier round."
    return free


def _expected(site: str, sent: Weights, spec: PhaseRun, number: int) -> Expected:
    """What an update of a site must be."""
    return Expected(
        site=site,
        phase=spec.phase,
        round=number,
        plan_hash=spec.plan_hash,
        sent=sent,
        most=spec.participants[site].most,
        max_norm=spec.federation.max_update_norm,
    )


def _take(reply: Message, expected: Expected, fold: Fold) -> tuple[SiteEntry, float | None]:
    """Admit one reply and fold it in; its validation loss, if it has one, is another model's."""
    update = read_reply(reply, Update)
    admit(update, expected)
    norm = fold.add(update.weights, update.counts, update)
    metrics = {
        name: value
        for name, value in update.metrics.items()
        if math.isfinite(value) and name != VALIDATION
    }
    part = SiteEntry(counts=dict(update.counts), metrics={**metrics, "update_norm": norm})
    return part, update.metrics.get(VALIDATION)


def _check_quorum(state: _Round, spec: PhaseRun, number: int) -> None:
    needed = spec.federation.min_sites
    if len(state.sites) >= needed:
        return
    reasons = "; ".join(f"{site}: {why.rstrip('.')}" for site, why in state.refused.items())
    raise FederationError(
        f"{spec.phase.value} round {number} has {many(len(state.sites), 'usable update')}, "
        f"federation.min_sites is {needed} ({reasons or 'no site was asked'}); mend the sites and "
        "go on with --resume.",
        state.refused,
    )
