"""What a stage of a phase begins with, and what a phase hands on: the last round, or the best."""

import warnings

from echofm_core.contract import DECODER, ENCODER, HEADS, TEACHER, TRUNK, Phase, Weights, group_of
from echofm_core.models.lora import untrained_notes
from echofm_core.models.saved import start_weights
from echofm_core.models.weights import load_arrays, named_weights, to_arrays
from echofm_core.plan.document import Plan
from echofm_core.plan.federation import Select
from echofm_core.runtime.errors import CheckpointError
from echofm_core.runtime.text import many
from echofm_core.training.objectives.phases import build_model
from echofm_core.training.stages import Stage
from server.journal import Journal
from server.validation import Validation


def first_weights(
    plan: Plan, phase: Phase, stage: Stage, journal: Journal, given: Weights
) -> Weights:
    """Weights that a stage starts from: by the plan's seed, or the encoder from the phase before.

    Before there is one, the encoder (and a shared decoder of pixels) may be that of
    ``machine.start``, or all groups those that the run was given. A student starts as its teacher
    did, which is the encoder that the stage before ended with, and goes with it.

    Raises:
        CheckpointError: What was given does not fit, or holds no encoder.
    """
    model = build_model(plan, phase, stage)
    here = {ENCODER} if stage.latent else {group_of(name) for name in named_weights(model)}
    if phase is Phase.PRETRAIN:
        shared = [ENCODER, DECODER] if plan.pretrain.share_decoder else [ENCODER]
        before = given or start_weights(plan.model, plan.machine, shared)
    else:
        shared = [*TRUNK, HEADS]
        pretrained = result_of(journal, plan, Phase.PRETRAIN)
        before = pretrained or given or start_weights(plan.model, plan.machine)
        for note in untrained_notes(plan) if not before else ():
            warnings.warn(note, RuntimeWarning, stacklevel=2)
    fitting = {name: array for name, array in before.items() if group_of(name) in here}
    if before and ENCODER not in map(group_of, fitting):
        raise CheckpointError(
            "the starting weights hold no encoder; give the model of `echofm pretrain`, of a "
            "federation, or an imported one."
        )
    load_arrays(model, fitting)
    weights: Weights = to_arrays(model, shared)
    if stage.latent:
        weights = {**weights, **_teacher(journal.last(phase, stage.first - 1)[1])}
    return weights


def handed_on(weights: Weights) -> Weights:
    """What of a phase's weights goes to the next one, or is the result; all but a teacher's work.

    Where there is a teacher it is the student's encoder alone: a decoder of features is of no use
    without the teacher, and would fit where one of pixels is sought.
    """
    if TEACHER not in map(group_of, weights):
        return weights
    return {name: array for name, array in weights.items() if group_of(name) == ENCODER}


def result_of(journal: Journal, plan: Plan, phase: Phase) -> Weights:
    """Weights of the round that a phase of a plan ends with; empty where there is none.

    Raises:
        CheckpointError: The best round's checkpoint is damaged.
    """
    last, weights = journal.last(phase, plan.rounds_of(phase))
    best = last if plan.federation.select is Select.LAST else _best(journal, plan, phase, last)
    return handed_on(weights if best == last else journal.weights(phase, best))


def chosen_rounds(journal: Journal, plan: Plan) -> tuple[str, ...]:
    """A sentence for each phase that another round was chosen of than the last."""
    found = []
    for phase in Phase if plan.federation.select is Select.BEST else ():
        done = max((entry.round for entry in journal.entries() if entry.phase is phase), default=0)
        if (best := _best(journal, plan, phase, done)) != done:
            found.append(
                f"Of the {many(done, 'round')} of {phase.value}, round {best} is kept: it has the "
                "least loss on the validation patients."
            )
    return tuple(found)


def _teacher(weights: Weights) -> Weights:
    """The encoder among some weights, under the names of a teacher."""
    return {
        name.replace(ENCODER, TEACHER, 1): array
        for name, array in weights.items()
        if group_of(name) == ENCODER
    }


def _best(journal: Journal, plan: Plan, phase: Phase, done: int) -> int:
    """Of the last stage's rounds up to ``done`` that with the least validation loss; else ``done``.

    Losses of another stage are of another model, and of another kind.
    """
    first = plan.table_of(phase).stages()[-1].first
    return Validation(losses=journal.losses(phase, done, first)).best() or done
