"""What a plan will spend, before the first patient is touched."""

from __future__ import annotations

import math
from collections.abc import Mapping

from echofm_core.contract import Phase
from echofm_core.plan.document import Plan
from echofm_core.privacy.accounting import Steps, calibrate, epsilon
from echofm_core.runtime.errors import PrivacyError
from echofm_core.training.config import PhaseConfig

#: Training patients of a site: one number for both phases, or one a phase.
Patients = int | Mapping[Phase, int]


def steps_of_round(config: PhaseConfig, patients: int) -> Steps:
    """Private steps of one round: the plan's, or as many as passes over the patients would take.

    Args:
        config: The phase's table; ``batch_size`` is the expected number of patients in a step.
        patients: Patients who can be drawn, at least 1.
    """
    rate = min(1.0, config.batch_size / patients)
    passes = math.ceil(patients / config.batch_size) * config.local_epochs
    return Steps(rate, config.local_steps or passes)


def planned_steps(plan: Plan, patients: Patients) -> list[Steps]:
    """Steps of all rounds of both phases at one site; a phase without patients takes none."""
    planned = []
    for phase, config in ((Phase.PRETRAIN, plan.pretrain), (Phase.FINETUNE, plan.finetune)):
        count = patients if isinstance(patients, int) else patients.get(phase, 0)
        if count and config.rounds:
            once = steps_of_round(config, count)
            planned.append(Steps(once.rate, once.steps * config.rounds))
    return planned


def resolve_noise(plan: Plan, patients: Patients) -> float:
    """Noise multiplier of a private plan: the one it names, or the one for the epsilon it names.

    Raises:
        PrivacyError: The plan is not private, or no noise meets its epsilon.
    """
    privacy = plan.privacy
    if privacy.noise_multiplier is not None:
        return privacy.noise_multiplier
    if privacy.epsilon is None:
        raise PrivacyError(f'plan {plan.name} has privacy.kind = "{privacy.kind}": no noise.')
    return calibrate(privacy.epsilon, planned_steps(plan, patients), privacy.delta)


def planned_epsilon(plan: Plan, patients: Patients) -> float:
    """Epsilon that one site will have spent after all rounds of both phases.

    What it protects: whether a patient took part, against whoever sees every update. What it does
    not: the number of clips, patients and labels of a site, which travel in clear.

    Raises:
        PrivacyError: As :func:`resolve_noise`.
    """
    noise = resolve_noise(plan, patients)
    return epsilon(noise, planned_steps(plan, patients), plan.privacy.delta)
