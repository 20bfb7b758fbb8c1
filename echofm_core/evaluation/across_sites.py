"""Two models over several sites: in the mean, each site counting once, and at the worst site."""

from collections.abc import Sequence

import numpy as np

from echofm_core.evaluation.bootstrap import (
    Difference,
    PairedDraws,
    student,
    widened_error,
)
from echofm_core.evaluation.config import EvaluationConfig


def mean_difference(sites: Sequence[PairedDraws], config: EvaluationConfig) -> Difference:
    """First minus second model in the mean over sites.

    The sites' patients are drawn apart, so the variances add; the degrees of freedom are those of
    Welch and Satterthwaite.

    Args:
        sites: At least one, each with its own patients.
        config: Coverage.

    Source: Satterthwaite, Biometrics Bulletin 1946, 2, 110-114.
    """
    values = np.array([site.values[0] - site.values[1] for site in sites])
    errors = [
        widened_error(float(value), site.first - site.second, site.patients)
        for value, site in zip(values, sites, strict=True)
    ]
    variances, free = np.square(errors), np.array([site.patients - 1 for site in sites])
    total, parts = float(variances.sum()), float((variances**2 / free).sum())
    return student(
        float(values.mean()),
        float(np.sqrt(total)) / len(sites),
        total**2 / parts if parts > 0 else float(free.sum()),
        _agreeing(sites),
        config,
    )


def worst_difference(
    sites: Sequence[PairedDraws], config: EvaluationConfig, *, lower_is_better: bool
) -> Difference:
    """First model at its worst site minus the second at its own, which may be another.

    In each draw of all sites' patients the worst site of each model is found anew, so that the
    spread contains that of which site it is. The degrees of freedom are those of the smallest
    site: the worst site alone is behind the number.

    Args:
        sites: At least one, each with its own patients.
        config: Coverage.
        lower_is_better: Whether the worst value is the largest.
    """
    worst = np.max if lower_is_better else np.min
    first = worst(np.stack([site.first for site in sites]), axis=0)
    second = worst(np.stack([site.second for site in sites]), axis=0)
    ours, theirs = (float(worst([site.values[model] for site in sites])) for model in (0, 1))
    smallest = min(site.patients for site in sites)
    error = widened_error(ours - theirs, first - second, smallest)
    return student(ours - theirs, error, smallest - 1, _agreeing(sites), config)


def _agreeing(sites: Sequence[PairedDraws]) -> int:
    return sum(site.patients for site in sites) - 1
