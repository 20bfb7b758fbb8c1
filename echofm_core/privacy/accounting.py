"""Epsilon of Poisson-subsampled Gaussian steps, noise for a wanted one, and what a plan spends.

Neighbouring data sets differ by one patient who is there or not (add/remove). Protected is whether
a patient took part, against whoever sees every update; not the number of clips, patients and labels
of a site, which travel in clear.
"""

import math
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from opacus.accountants import PRVAccountant, RDPAccountant
from scipy.optimize import brentq

from echofm_core.contract import Phase
from echofm_core.privacy.config import PrivacyConfig
from echofm_core.runtime.errors import PrivacyError
from echofm_core.training.config import PhaseConfig

#: Outside this range the Renyi bound is returned. Above, no promise is left to sharpen, and the
#: numerical accountant's memory grows with epsilon; below, its own error of 0.01 is too large.
SHARP_ABOVE, SHARP_BELOW = 0.02, 100.0
#: Orders of the Renyi bound; Opacus' own fractional orders are slow and hardly sharper.
RENYI_ORDERS = (*range(2, 65), *range(68, 257, 4), *range(288, 1025, 32))
#: Noise multipliers that calibration considers.
LEAST_NOISE, MOST_NOISE = 0.1, 10_000.0
#: Calibration ends when the noise is known this well, relatively.
NOISE_TOLERANCE = 1e-3


@dataclass(frozen=True, order=True, slots=True)
class Steps:
    """Private steps of one kind.

    Attributes:
        rate: Probability with which a patient takes part in a step, in (0, 1].
    """

    rate: float
    steps: int


def epsilon(noise_multiplier: float, phases: Iterable[Steps], delta: float) -> float:
    """Epsilon of all steps together, an upper bound; 0 without steps.

    Args:
        noise_multiplier: Standard deviation of the noise over the clipping norm.
        delta: Probability with which the bound may fail.
    """
    return compose([(noise_multiplier, phase) for phase in phases], delta)


def compose(parts: Iterable[tuple[float, Steps]], delta: float) -> float:
    """Epsilon of steps with different noise, an upper bound.

    Both accountants bound it from above, so the smaller is taken; the numerical one is the
    smaller, but for very much noise. Parts are noise multipliers and steps.

    Source: Gopi 2021 (numerical composition of privacy loss), Mironov 2019 (Renyi), by Opacus.
    """
    counts: Counter[tuple[float, float]] = Counter()
    for noise, phase in parts:
        counts[noise, phase.rate] += phase.steps
    return _bound(tuple((*kind, steps) for kind, steps in sorted(counts.items()) if steps), delta)


def calibrate(target: float, phases: Sequence[Steps], delta: float) -> float:
    """Least noise multiplier, within 0.1 %, whose epsilon over all steps is at most the target.

    Epsilon falls almost as a power of the noise, so the root is sought in logarithms.

    Raises:
        PrivacyError: No noise is enough.
    """

    def excess(log_noise: float) -> float:
        return math.log(max(epsilon(math.exp(log_noise), phases, delta), 1e-9) / target)

    low = high = 0.0
    while excess(high) > 0:
        if high > math.log(MOST_NOISE):
            raise PrivacyError(
                f"privacy.epsilon = {target:g} at delta = {delta:g} cannot be met over "
                f"{sum(phase.steps for phase in phases)} steps with noise up to {MOST_NOISE:g} "
                "times the clipping norm; plan fewer rounds, smaller batches or a larger epsilon."
            )
        low, high = high, high + math.log(4)
    while excess(low) <= 0:
        if low <= math.log(LEAST_NOISE):
            return LEAST_NOISE
        low, high = max(low - math.log(2), math.log(LEAST_NOISE)), low
    found = float(brentq(excess, low, high, xtol=NOISE_TOLERANCE / 2))
    while excess(found) > 0:
        found += NOISE_TOLERANCE / 4
    return math.exp(found)


@lru_cache(maxsize=4096)
def _bound(history: tuple[tuple[float, float, int], ...], delta: float) -> float:
    if not history:
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Opacus warns where its grid of Renyi orders ends
        renyi = RDPAccountant()
        renyi.history = list(history)
        bound = float(renyi.get_epsilon(delta=delta, alphas=RENYI_ORDERS))
        if not SHARP_ABOVE < bound < SHARP_BELOW:
            return bound
        numerical = PRVAccountant()
        numerical.history = list(history)
        try:
            return min(bound, float(numerical.get_epsilon(delta=delta)))
        except (RuntimeError, ValueError):  # its grid cannot hold these steps
            return bound


#: Training patients of a site: one number for both phases, or one a phase.
Patients = int | Mapping[Phase, int]


def steps_of_round(config: PhaseConfig, patients: int) -> Steps:
    """Private steps of one round, at each of which ``batch_size`` patients are expected."""
    return Steps(min(1.0, config.batch_size / patients), config.steps_of_round(patients))


def planned_steps(phases: Mapping[Phase, PhaseConfig], patients: Patients) -> list[Steps]:
    """Steps of all rounds of both phases at one site; a phase without patients takes none."""
    planned = []
    for phase, config in phases.items():
        count = patients if isinstance(patients, int) else patients.get(phase, 0)
        if count and config.rounds:
            once = steps_of_round(config, count)
            planned.append(Steps(once.rate, once.steps * config.rounds))
    return planned


def resolve_noise(
    privacy: PrivacyConfig, phases: Mapping[Phase, PhaseConfig], patients: Patients
) -> float:
    """Noise multiplier of a private plan: the one it names, or the one for the epsilon it names.

    Raises:
        PrivacyError: The plan is not private, or no noise meets its epsilon.
    """
    if privacy.noise_multiplier is not None:
        return privacy.noise_multiplier
    if privacy.epsilon is None:
        raise PrivacyError(f'the plan has privacy.kind = "{privacy.kind}": no noise.')
    return calibrate(privacy.epsilon, planned_steps(phases, patients), privacy.delta)
