"""Differences between models on the same test patients, with intervals over seeds and patients.

The seeds of a study share their patients. So a mean over seeds errs in two ways: with other
patients, whom a bootstrap draws, each with the predictions of all seeds; and with other seeds, by
the spread between them. Both variances are added; the spread on drawn patients has a little of the
first in it, so that intervals are rather too wide.

Source: Satterthwaite, Biometrics Bulletin 1946, 2, 110-114 (degrees of freedom of such a sum).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.federation.predictions import Key, Measure, Predictions, metric_of
from echofm_core.evaluation.bootstrap import paired_draws, student, widened_error
from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.evaluation.ranking import Floats
from echofm_core.evaluation.score import Cases
from echofm_core.runtime.randomness import stream

#: Draws of patients, and the coverage of intervals.
CONFIG = EvaluationConfig(bootstrap=2000)


@dataclass(frozen=True, slots=True)
class Term:
    """The metric of one model, times a weight."""

    fold: str
    model: str
    weight: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Contrast:
    """The mean over sites of a weighted sum of metrics at each.

    Attributes:
        what: In words.
        measure: Of what.
        parts: Site -> what is summed there; no patient is at two of them.
    """

    what: str
    measure: Measure
    parts: Mapping[str, Sequence[Term]]


@dataclass(frozen=True, slots=True)
class Found:
    """A contrast: the mean over seeds, the ends of its interval, and the value of each seed."""

    value: float
    low: float
    high: float
    each: Mapping[int, float]


def measured(contrast: Contrast, found: Predictions) -> Found:
    """The contrast on all seeds.

    Raises:
        RuntimeError: Two models of a site were tested on other patients.
    """
    seeds, sites = found.seeds, len(contrast.parts)
    each = np.zeros(len(seeds))
    variance, patients = 0.0, 0
    for site, terms in contrast.parts.items():
        table = [[found.cases(Key(t.fold, t.model, seed), site, contrast.measure.task)
                  for t in terms] for seed in seeds]  # fmt: skip
        first = table[0][0]
        if not all(_keys(one).equals(_keys(first)) for row in table for one in row):
            raise RuntimeError(f"{contrast.what}: models were tested on other patients of {site}.")
        weights = np.array([term.weight for term in terms])
        each += (
            _sums(table, contrast.measure, weights, np.ones((1, len(first.truth))))[:, 0] / sites
        )
        error = _patient_error(table, contrast, weights, site)
        variance += (error / sites) ** 2
        patients += first.patient_count
    return _interval(each, variance, patients - sites, seeds)


def _keys(cases: Cases) -> pd.DataFrame:
    """Which cases, wherever they stand among those of other sites."""
    return cases.table.reset_index(drop=True)


def _interval(each: Floats, variance: float, free: int, seeds: Sequence[int]) -> Found:
    """From the value of each seed, and the variance of their mean over patients."""
    between = float(np.var(each, ddof=1)) / len(each) if len(each) > 1 else 0.0
    whole = variance + between
    parts = variance**2 / free + between**2 / max(1, len(each) - 1)
    degrees = whole**2 / parts if parts else float(free)
    value = float(each.mean())
    ends = student(value, float(np.sqrt(whole)), degrees, free, CONFIG)
    return Found(value, ends.low, ends.high, dict(zip(seeds, map(float, each), strict=True)))


def _patient_error(
    table: Sequence[Sequence[Cases]], contrast: Contrast, weights: Floats, site: str
) -> float:
    """Standard error over patients of the mean over seeds at a site."""
    first = table[0][0]

    def mean(drawn: Floats) -> dict[str, Floats]:
        return {"sum": _sums(table, contrast.measure, weights, drawn).mean(axis=0)}

    def nothing(drawn: Floats) -> dict[str, Floats]:
        return {"sum": np.zeros(len(drawn))}

    rng = stream(0, site, 0, "benchmark.paired")
    draws = paired_draws(mean, nothing, first.patients, CONFIG, rng)["sum"]
    return widened_error(draws.values[0], draws.first, draws.patients)


def _sums(
    table: Sequence[Sequence[Cases]], measure: Measure, weights: Floats, drawn: Floats
) -> Floats:
    """(seeds, R) weighted sums of the terms' metrics, for (R, N) weights of cases."""
    return np.array([
        weights @ np.array([metric_of(cases, measure, drawn) for cases in row]) for row in table
    ])  # fmt: skip
