"""Epsilon against accountants that share no code with Opacus'."""

from __future__ import annotations

import math

import numpy as np
import pytest
from opacus.accountants import RDPAccountant
from scipy.optimize import brentq
from scipy.stats import norm

from echofm_core.privacy.accounting import SHARP_BELOW, Steps, calibrate, compose, epsilon
from echofm_core.runtime.errors import PrivacyError

DELTA = 1e-5


def gaussian_epsilon(noise: float, steps: int, delta: float) -> float:
    """Epsilon of ``steps`` Gaussian mechanisms without sampling, exact.

    Their composition is one Gaussian mechanism: the outputs' average has the variance
    noise^2 / steps, so its mean moves by mu = sqrt(steps) / noise standard deviations. The privacy
    loss is then normal with mean mu^2 / 2 and variance mu^2, and
    delta(eps) = P(L > eps) - e^eps P(L' > eps) = Phi(mu/2 - eps/mu) - e^eps Phi(-mu/2 - eps/mu)
    (Balle 2018, theorem 8), which is solved for epsilon.
    """
    mu = math.sqrt(steps) / noise

    def excess(eps: float) -> float:
        tail = math.exp(eps + norm.logcdf(-mu / 2 - eps / mu))
        return float(norm.cdf(mu / 2 - eps / mu)) - tail - delta

    return float(brentq(excess, 0.0, 500.0))


def grid_epsilon(history: list[tuple[float, float, int]], delta: float) -> float:
    """Epsilon by a plain privacy-loss-distribution accountant: a second implementation.

    One step adds N(0, noise^2) to 0, or with probability q to 1. With P the mixture and Q the
    normal at 0, the loss is L(x) = ln(1 - q + q exp((2x - 1) / (2 noise^2))). Its distribution
    under P (patient removed) is found by binning x on a fine grid; under Q in the other direction
    (patient added) with -L. Losses are rounded *up* to a grid of ``width``, so that the result
    bounds epsilon from above; steps compose by convolution, here as a power in Fourier space.
    """
    width, half = 2e-4, 1 << 18

    def one_direction(sign: int) -> float:
        spectrum = np.ones(half + 1, dtype=complex)
        for noise, rate, steps in history:
            edges = np.linspace(-12 * noise, 12 * noise + 1, 400_001)
            base = norm.cdf(edges / noise)
            mixed = (1 - rate) * base + rate * norm.cdf((edges - 1) / noise)
            mass = np.diff(mixed if sign > 0 else base)
            # L rises with x, so the larger end of a bin bounds the loss, or -L, from above.
            x = edges[1:] if sign > 0 else edges[:-1]
            loss = sign * np.log(1 - rate + rate * np.exp((2 * x - 1) / (2 * noise**2)))
            bins = np.ceil(loss / width).astype(int)
            assert np.abs(bins).max() < half
            pmf = np.bincount(bins % (2 * half), mass, minlength=2 * half)
            spectrum = spectrum * np.fft.rfft(pmf) ** steps
        total = np.fft.irfft(spectrum)
        losses = np.arange(2 * half) * width
        losses[half:] -= 2 * half * width

        def excess(eps: float) -> float:
            above = losses > eps
            return float((total[above] * -np.expm1(eps - losses[above])).sum()) - delta

        return float(brentq(excess, 0.0, 40.0))

    return max(one_direction(+1), one_direction(-1))


def renyi_epsilon(history: list[tuple[float, float, int]], delta: float) -> float:
    accountant = RDPAccountant()
    accountant.history = list(history)
    return float(accountant.get_epsilon(delta=delta))


@pytest.mark.parametrize(("noise", "steps"), [(1.0, 1), (1.0, 10), (5.0, 30), (2.5, 1)])
def test_without_sampling_it_is_the_analytic_gaussian(noise: float, steps: int) -> None:
    """Ours may be above by at most the accountant's own error of 0.01, and a little."""
    exact = gaussian_epsilon(noise, steps, DELTA)
    assert exact <= epsilon(noise, [Steps(1.0, steps)], DELTA) <= exact + 0.015


@pytest.mark.parametrize(
    "history",
    [
        [(1.0, 0.1, 100)],
        [(2.0, 0.5, 40)],
        [(1.2, 0.05, 300), (1.2, 0.2, 30)],
        [(0.8, 0.02, 200), (3.0, 0.4, 10)],
    ],
)
def test_two_other_accountants_agree(history: list[tuple[float, float, int]]) -> None:
    """Within 0.02 of the grid accountant (whose rounding adds up to width * steps), below Renyi."""
    ours = compose([(noise, Steps(rate, steps)) for noise, rate, steps in history], DELTA)
    steps = sum(item[2] for item in history)
    assert ours == pytest.approx(grid_epsilon(history, DELTA), abs=0.02 + 2e-4 * steps)
    assert ours <= renyi_epsilon(history, DELTA)


def test_more_steps_cost_more_and_more_noise_costs_less() -> None:
    few, many = Steps(0.1, 50), Steps(0.1, 100)
    assert epsilon(1.0, [few], DELTA) < epsilon(1.0, [many], DELTA)
    assert epsilon(2.0, [many], DELTA) < epsilon(1.0, [many], DELTA)
    assert epsilon(1.0, [few, few], DELTA) == epsilon(1.0, [many], DELTA)
    assert epsilon(1.0, [], DELTA) == epsilon(1.0, [Steps(0.5, 0)], DELTA) == 0


def test_hardly_any_noise_still_gets_a_number() -> None:
    """Far beyond any promise: the Renyi bound, quickly, instead of gigabytes of grid."""
    assert epsilon(0.05, [Steps(0.5, 300)], DELTA) > SHARP_BELOW


@pytest.mark.parametrize("target", [0.5, 3.0, 10.0])
def test_calibrated_noise_meets_the_target_and_wastes_little(target: float) -> None:
    phases = [Steps(0.1, 60), Steps(0.3, 30)]
    noise = calibrate(target, phases, DELTA)
    assert epsilon(noise, phases, DELTA) <= target
    assert epsilon(noise / 1.005, phases, DELTA) > target


def test_a_target_that_no_noise_meets_is_refused() -> None:
    with pytest.raises(PrivacyError, match="cannot be met over 10 steps"):
        calibrate(1e-3, [Steps(0.5, 10)], DELTA)
