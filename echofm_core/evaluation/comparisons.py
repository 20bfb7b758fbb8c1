"""What comparisons say: the rows of a paired table by metric and rival.

Whatever compares two models is read from the paired table (:mod:`echofm_core.evaluation.paired`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from echofm_core.evaluation.levels import level
from echofm_core.evaluation.model_names import (
    FLOOR,
    LEAVE_ONE_OUT,
    LOCAL,
    NO_PRETRAINING,
    POOLED,
    model_title,
)
from echofm_core.evaluation.paired import PAIRED_COLUMNS, Finding
from echofm_core.evaluation.reported import ReportedMetric, reported_metric
from echofm_core.evaluation.score import (
    MEAN_OF_SITES,
    MEAN_UNSEEN,
    MEANS,
    WORST,
    WORST_SITE,
    WORST_UNSEEN,
)
from echofm_core.evaluation.score_table import ScoreTable

#: The rival that is another model at each site.
BEST_SITE = "best"
#: What the federated model is measured against, as sentences name it.
RIVALS = {
    BEST_SITE: "the best single site",
    POOLED: "pooled data",
    LEAVE_ONE_OUT: "leave one out (the site unseen)",
    NO_PRETRAINING: "no pre-training",
    FLOOR: model_title(FLOOR),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A row of the paired table: the first model minus its rival at a site."""

    metric: ReportedMetric
    model: str
    rival: str
    site: str
    value: float
    low: float
    high: float
    patients: int
    finding: Finding

    @property
    def difference(self) -> str:
        """``-0.91 [-1.33, -0.50]``: one decimal more than the values have."""
        digits = self.metric.digits + 1
        value, low, high = (f"{x:+z.{digits}f}" for x in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]"


def comparisons(paired: pd.DataFrame) -> list[Comparison]:
    """The rows of a paired table, in its order."""
    return [
        Comparison(
            metric=metric,
            patients=int(row["patients"]),
            finding=Finding(row["finding"]),
            **{name: row[name] for name in ("model", "rival", "site", "value", "low", "high")},
        )
        for row in paired[list(PAIRED_COLUMNS)].to_dict("records")
        if (metric := reported_metric(row["task"], row["metric"]))
    ]


def against(
    rival: str, table: ScoreTable, found: Sequence[Comparison], metric: ReportedMetric
) -> list[Comparison]:
    """The run's own model against a rival of :data:`RIVALS`: mean, worst site, then each site.

    Its own model is the first of the table: the federated one, or the only one.
    The best single site is the best of all ``local:`` models: at each site another one, for mean
    and worst the one with the best mean. Sites that no model sees are another question:
    :func:`against_unseen`.
    """
    mine = [item for item in _own(rival, table, found, metric) if not table.never_seen(item.site)]
    return _ordered(mine)


def against_unseen(
    rival: str, table: ScoreTable, found: Sequence[Comparison], metric: ReportedMetric
) -> list[Comparison]:
    """As :func:`against`, where no model trained: mean and worst of these sites, or each site."""
    mine = [item for item in _own(rival, table, found, metric) if table.never_seen(item.site)]
    return [item for item in mine if item.site in MEANS | WORST] or _ordered(mine)


def _ordered(found: Sequence[Comparison]) -> list[Comparison]:
    key = {MEAN_OF_SITES: "", MEAN_UNSEEN: "", WORST_SITE: " ", WORST_UNSEEN: " "}
    return sorted(found, key=lambda item: key.get(item.site, item.site))


def _own(
    rival: str, table: ScoreTable, found: Sequence[Comparison], metric: ReportedMetric
) -> list[Comparison]:
    mine = [item for item in found if item.metric == metric and item.model == table.models[0]]
    if rival != BEST_SITE:
        return [item for item in mine if item.rival == rival]
    return [item for item in mine if item.rival == _best_site(table, item.site, metric)]


def _best_site(table: ScoreTable, site: str, metric: ReportedMetric) -> str:
    """The ``local:`` model that does best on a test set; empty without any."""
    values = {}
    for name in (name for name in table.models if name.startswith(LOCAL)):
        if site in MEANS | WORST:
            across = level(table, name, metric, never_seen=table.never_seen(site))
            value = across.mean if across.sites else math.nan
        else:
            value = table.cell(name, site, metric).value
        if math.isfinite(value):
            values[name] = value
    sign = 1 if metric.lower_is_better else -1
    return min(values, key=lambda name: sign * values[name], default="")


def not_above_floor(
    found: Sequence[Comparison], metric: ReportedMetric, own: str
) -> list[Comparison]:
    """Where networks other than the run's own model are not better than what needs none.

    In the mean over sites where they were compared so, else at each site; a site alone at its own.
    """
    rows = [x for x in found if x.metric == metric and x.rival == FLOOR and x.model != own]
    rows = [x for x in rows if x.site not in WORST]
    whole = {x.model for x in rows if x.site == MEAN_OF_SITES}
    rows = [x for x in rows if x.site == MEAN_OF_SITES or x.model not in whole]
    return [x for x in rows if x.finding != Finding.BETTER]
