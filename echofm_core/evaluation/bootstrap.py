"""Percentile bootstrap over patients (Efron 1979): a patient is drawn with all that is theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.evaluation.ranking import Floats

#: From (R, N) weights of N cases to R values a metric.
Statistic = Callable[[Floats], dict[str, Floats]]

#: Largest weight matrix held at once, in numbers (32 MB).
BLOCK = 4_000_000

#: Intervals need a metric to be defined in at least this share of the resamples.
DEFINED_SHARE = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A value on the sample as it is, and the ends of its interval (NaN where undefined)."""

    value: float
    low: float
    high: float


def bootstrap(
    statistic: Statistic,
    patients: NDArray[np.int64],
    config: EvaluationConfig,
    rng: np.random.Generator,
) -> dict[str, Estimate]:
    """Estimate metrics with intervals.

    Args:
        statistic: Computes all metrics for many weightings of the cases at once.
        patients: (N,) patient of each case, numbered from 0 without gaps.
        config: Number of resamples, coverage.
        rng: Draws the patients; equal generators draw equal patients, so that two models on the
            same cases can be compared.
    """
    cases, count = len(patients), int(patients.max(initial=-1)) + 1
    if not count:
        return {}
    plain = statistic(np.ones((1, cases)))
    block = max(1, BLOCK // cases)
    parts = [
        statistic(draw_patients(count, min(block, config.bootstrap - done), rng)[:, patients])
        for done in range(0, config.bootstrap, block)
    ]
    return {
        name: _estimate(float(plain[name][0]), np.concatenate([p[name] for p in parts]), config)
        for name in plain
    }


def paired_difference(
    first: Statistic,
    second: Statistic,
    patients: NDArray[np.int64],
    config: EvaluationConfig,
    rng: np.random.Generator,
) -> dict[str, Estimate]:
    """First model minus second, both on the same drawn patients of the same cases.

    Args:
        first: Metrics of one model.
        second: Metrics of the other; cases in the same order.
        patients: (N,) patient of each case, numbered from 0 without gaps.
        config: Number of resamples, coverage.
        rng: Draws the patients.
    """

    def difference(weights: Floats) -> dict[str, Floats]:
        ours, theirs = first(weights), second(weights)
        return {name: ours[name] - theirs[name] for name in ours}

    return bootstrap(difference, patients, config, rng)


def draw_patients(patients: int, resamples: int, rng: np.random.Generator) -> Floats:
    """How often each patient is drawn: (resamples, patients), every row sums to ``patients``."""
    drawn = rng.integers(0, patients, size=(resamples, patients))
    drawn += np.arange(resamples)[:, None] * patients
    counts = np.bincount(drawn.ravel(), minlength=resamples * patients)
    return counts.reshape(resamples, patients).astype(np.float64)


def _estimate(value: float, drawn: Floats, config: EvaluationConfig) -> Estimate:
    defined = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or len(defined) < DEFINED_SHARE * len(drawn):
        return Estimate(value=value, low=np.nan, high=np.nan)
    tail = (1 - config.confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Estimate(value=value, low=float(low), high=float(high))
