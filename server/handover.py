"""What a phase begins with, and what it hands on: the last round, or the best."""

import warnings

from echofm_core.contract import DECODER, ENCODER, HEADS, TRUNK, Phase, Weights, group_of
from echofm_core.models.build import build_autoencoder, build_tuned_model
from echofm_core.models.lora import untrained_notes
from echofm_core.models.saved import start_weights
from echofm_core.models.weights import load_arrays, named_weights, to_arrays
from echofm_core.plan.document import Plan
from echofm_core.plan.federation import Select
from echofm_core.runtime.errors import CheckpointError
from echofm_core.runtime.text import many
from echofm_core.training.objectives.phases import Model
from server.journal import Journal
from server.validation import Validation


def first_weights(plan: Plan, phase: Phase, journal: Journal, given: Weights) -> Weights:
    """Weights that a phase starts from: by the plan's seed, or the encoder from the phase before.

    Before there is one, the encoder (and a shared decoder) may be that of ``machine.start``, or
    all groups those that the run was given.

    Raises:
        CheckpointError: What was given does not fit, or holds no encoder.
    """
    if phase is Phase.PRETRAIN:
        model: Model = build_autoencoder(plan)
        shared = [ENCODER, DECODER] if plan.pretrain.share_decoder else [ENCODER]
        before = given or start_weights(plan.model, plan.machine, shared)
    else:
        model = build_tuned_model(plan)
        shared = [*TRUNK, HEADS]
        rounds, select = plan.pretrain.rounds, plan.federation.select
        pretrained = result_of(journal, Phase.PRETRAIN, rounds, select)
        before = pretrained or given or start_weights(plan.model, plan.machine)
        for note in untrained_notes(plan) if not before else ():
            warnings.warn(note, RuntimeWarning, stacklevel=2)
    here = {group_of(name) for name in named_weights(model)}
    fitting = {name: array for name, array in before.items() if group_of(name) in here}
    if before and ENCODER not in map(group_of, fitting):
        raise CheckpointError(
            "the starting weights hold no encoder; give the model of `echofm pretrain`, of a "
            "federation, or an imported one."
        )
    load_arrays(model, fitting)
    return to_arrays(model, shared)


def result_of(journal: Journal, phase: Phase, rounds: int, select: Select) -> Weights:
    """Weights of the round that a phase of ``rounds`` ends with; empty where there is none.

    Raises:
        CheckpointError: The best round's checkpoint is damaged.
    """
    last, weights = journal.last(phase, rounds)
    best = last if select is Select.LAST else _best(journal, phase, last)
    return weights if best == last else journal.weights(phase, best)


def chosen_rounds(journal: Journal, select: Select) -> tuple[str, ...]:
    """A sentence for each phase that another round was chosen of than the last."""
    found = []
    for phase in Phase if select is Select.BEST else ():
        done = max((entry.round for entry in journal.entries() if entry.phase is phase), default=0)
        if (best := _best(journal, phase, done)) != done:
            found.append(
                f"Of the {many(done, 'round')} of {phase.value}, round {best} is kept: it has the "
                "least loss on the validation patients."
            )
    return tuple(found)


def _best(journal: Journal, phase: Phase, done: int) -> int:
    """Of the first ``done`` rounds the one with the least validation loss; else the last."""
    return Validation(losses=journal.losses(phase, done)).best() or done
