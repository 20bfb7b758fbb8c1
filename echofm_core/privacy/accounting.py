"""Epsilon of Poisson-subsampled Gaussian steps, and the noise for a wanted epsilon.

Neighbouring data sets differ by one patient who is there or not (add/remove); the number of a
site's patients is taken as public.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from opacus.accountants import PRVAccountant, RDPAccountant

from echofm_core.errors import PrivacyError

#: Above this the Renyi bound is returned: no promise is left to sharpen, and the numerical
#: accountant's memory grows with epsilon.
SHARP_BELOW = 100.0
#: Noise multipliers that calibration considers.
LEAST_NOISE, MOST_NOISE = 0.1, 10_000.0
#: Calibration ends when the noise is known this well, relatively.
NOISE_TOLERANCE = 1e-3


@dataclass(frozen=True, order=True, slots=True)
class Steps:
    """Private steps of one kind.

    Attributes:
        rate: Probability with which a patient takes part in a step, in (0, 1].
        steps: How many.
    """

    rate: float
    steps: int


def epsilon(noise_multiplier: float, phases: Iterable[Steps], delta: float) -> float:
    """Epsilon of all steps together, an upper bound; 0 without steps.

    Args:
        noise_multiplier: Standard deviation of the noise over the clipping norm.
        phases: What was or will be done.
        delta: Probability with which the bound may fail.
    """
    return compose([(noise_multiplier, phase) for phase in phases], delta)


def compose(parts: Iterable[tuple[float, Steps]], delta: float) -> float:
    """Epsilon of steps with different noise, an upper bound.

    Both accountants bound it from above, so the smaller is taken; the numerical one is the
    smaller, but for very much noise.

    Args:
        parts: Noise multiplier and steps.
        delta: As in :func:`epsilon`.

    Source: Gopi 2021 (numerical composition of privacy loss), Mironov 2019 (Renyi), by Opacus.
    """
    counts: Counter[tuple[float, float]] = Counter()
    for noise, phase in parts:
        counts[noise, phase.rate] += phase.steps
    history = [(*kind, steps) for kind, steps in sorted(counts.items()) if steps]
    if not history:
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Opacus warns where its grid of Renyi orders ends
        renyi = _epsilon(RDPAccountant(), history, delta)
        if renyi > SHARP_BELOW:
            return renyi
        try:
            return min(renyi, _epsilon(PRVAccountant(), history, delta))
        except (RuntimeError, ValueError):  # its grid cannot hold these steps
            return renyi


def calibrate(epsilon_target: float, phases: Sequence[Steps], delta: float) -> float:
    """Least noise multiplier, within 0.1 %, whose epsilon over all steps is at most the target.

    Raises:
        PrivacyError: No noise is enough.
    """
    low, high = LEAST_NOISE, MOST_NOISE
    if epsilon(high, phases, delta) > epsilon_target:
        raise PrivacyError(
            f"privacy.epsilon = {epsilon_target:g} at delta = {delta:g} cannot be met over "
            f"{sum(phase.steps for phase in phases)} steps with any noise up to {high:g} times the "
            "clipping norm; plan fewer rounds, smaller batches or a larger epsilon."
        )
    if epsilon(low, phases, delta) <= epsilon_target:
        return low
    while high > low * (1 + NOISE_TOLERANCE):
        middle = (low * high) ** 0.5
        if epsilon(middle, phases, delta) <= epsilon_target:
            high = middle
        else:
            low = middle
    return high


def _epsilon(
    accountant: PRVAccountant | RDPAccountant, history: list[tuple[float, float, int]], delta: float
) -> float:
    accountant.history = list(history)
    return float(accountant.get_epsilon(delta=delta))
