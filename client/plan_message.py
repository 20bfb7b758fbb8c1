"""What no site allows: a message that does not follow from the plan that it brings.

Symptom: a server asks for a round or a part of the model that the plan does not have, and a policy
that allows the plan would allow it. Reason: plan and question are two things in one message.
Protocol: the question is held against the plan, whatever the policy says. What can still go wrong:
a plan that asks for too much itself; that is for the policy (:mod:`client.policy`).
"""

from echofm_core.contract import DECODER, TRAIN, Action, Instruction, Phase, group_of
from echofm_core.plan.document import Plan
from echofm_core.runtime.errors import PolicyError

#: Phase that an action trains; the others train none.
TRAINS = {Action.PRETRAIN: Phase.PRETRAIN, Action.FINETUNE: Phase.FINETUNE}


def check_instruction(plan: Plan, instruction: Instruction) -> None:
    """What no policy allows: a message that does not follow from the plan that it brings.

    Raises:
        PolicyError: Its run, its round, a test or a group that it asks for is not the plan's.
    """
    if instruction.run != plan.run_name():
        raise PolicyError(
            "the run's name is not the one that follows from the plan; install the same version of "
            "echofm-federated on both sides."
        )
    if instruction.action is Action.EVALUATE and not plan.finetune.rounds:
        raise PolicyError("the plan has finetune.rounds = 0, and so no test of its model.")
    phase = TRAINS.get(instruction.action)
    # Once more than it trains, a phase validates what came of its last round.
    extra = phase is not None and not instruction.settings.get(TRAIN, 1.0)
    first, last = (1, plan.rounds_of(phase) + extra) if phase else (0, 0)
    if not first <= instruction.round <= last:
        raise PolicyError(
            f"{instruction.action} is asked for in round {instruction.round}, the plan has it in "
            f"rounds {first} to {last}."
        )
    groups = {group_of(name) for name in (*instruction.weights, *instruction.extra)}
    if DECODER in groups and not plan.pretrain.share_decoder:
        raise PolicyError(
            "the plan has pretrain.share_decoder = false, and the decoder stays here."
        )
