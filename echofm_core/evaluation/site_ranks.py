"""Ranks of models over sites: Friedman's test and Nemenyi's critical difference.

Source: Demsar, JMLR 2006, 7, 1-30, sections 3.2.2 and 3.2.4; he asks for more than ten data sets,
or five models, for Friedman's chi-square to hold. Fewer than five sites rank nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import friedmanchisquare, rankdata, studentized_range

#: Sites below which there are no ranks.
LEAST_SITES = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteRanks:
    """Mean ranks of models over sites, 1 is best."""

    ranks: dict[str, float]
    """Model -> mean rank, best first."""
    critical: float
    """Mean ranks farther apart than this differ, for all pairs together."""
    p: float
    """Friedman's, of all models being alike; NaN with two models."""
    sites: int

    @property
    def groups(self) -> list[tuple[str, ...]]:
        """Largest sets of two models or more that cannot be told apart, best first."""
        names, found = list(self.ranks), list[tuple[str, ...]]()
        for start, first in enumerate(names):
            near = [n for n in names[start:] if self.ranks[n] - self.ranks[first] <= self.critical]
            if len(near) > 1 and not (found and set(near) <= set(found[-1])):
                found.append(tuple(near))
        return found


def site_ranks(
    values: Mapping[str, Sequence[float]], *, lower_is_better: bool, level: float = 0.05
) -> SiteRanks | None:
    """Rank models at each site; equal values share their mean rank.

    Args:
        values: Model -> its value at each site, sites in one order, all finite.
        lower_is_better: Whether the smallest value has rank 1.
        level: Of Nemenyi's test, for all pairs together.

    Returns:
        None with fewer than :data:`LEAST_SITES` sites or two models.

    Raises:
        ValueError: The models have values at different numbers of sites.
    """
    if len({len(row) for row in values.values()}) > 1:
        raise ValueError("models are ranked over the same sites; their numbers of values differ.")
    table = np.array(list(values.values()), dtype=np.float64)
    models, sites = (table.shape[0], table.shape[1]) if table.ndim == 2 else (0, 0)
    if models < 2 or sites < LEAST_SITES:
        return None
    mean = rankdata(table if lower_is_better else -table, axis=0).mean(axis=1)
    order = np.argsort(mean, kind="stable")
    names = list(values)
    spread = math.sqrt(models * (models + 1) / (6 * sites))
    quantile = float(studentized_range.isf(level, models, np.inf)) / math.sqrt(2)
    return SiteRanks(
        ranks={names[index]: float(mean[index]) for index in order},
        critical=quantile * spread,
        p=float(friedmanchisquare(*table).pvalue) if models > 2 else math.nan,
        sites=sites,
    )
