"""Holm's correction for many comparisons."""

import numpy as np

from echofm_core.evaluation.ranking import Floats


def holm(p: Floats) -> Floats:
    """Adjusted p-values: rejecting those below alpha errs with probability alpha at most, in all.

    The k-th smallest of m is multiplied by m - k + 1; none may fall below a smaller one's. From
    (M,) p-values of one family, in [0, 1], to (M,) in the same order, at most 1.

    Source: Holm, Scandinavian Journal of Statistics 1979, 6, 65-70.
    """
    order = np.argsort(p, kind="stable")
    steps = (len(p) - np.arange(len(p))) * p[order]
    adjusted = np.empty_like(p, dtype=np.float64)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted
