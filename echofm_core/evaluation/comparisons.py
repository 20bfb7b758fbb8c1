"""What comparisons say: the rows of a paired table by metric and rival, and the levels they lie at.

Whatever compares two models is read from the paired table (:mod:`echofm_core.evaluation.paired`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

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
from echofm_core.evaluation.score import ALL_SITES, JOINT
from echofm_core.evaluation.score_table import Cell, ScoreTable

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """How a model does in one metric over the sites that can be judged."""

    metric: ReportedMetric
    sites: dict[str, Cell]
    """Site -> its value, of sites with enough patients."""
    few: dict[str, Cell]
    """Site -> its value, of the others."""

    @property
    def mean(self) -> float:
        """Mean over the sites, each counting once."""
        return sum(found.value for found in self.sites.values()) / len(self.sites)

    @property
    def worst(self) -> str:
        """The site where the model does worst."""
        sign = -1 if self.metric.lower_is_better else 1
        return min(self.sites, key=lambda site: sign * self.sites[site].value)

    @property
    def gap(self) -> float:
        """Between the worst and the best site."""
        values = [found.value for found in self.sites.values()]
        return max(values) - min(values)


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


def level(table: ScoreTable, model: str, metric: ReportedMetric) -> Level:
    """A model's values at the sites where it was tested, but for those that no model sees."""
    sites = (
        site
        for site in table.sites_with_labels(metric)
        if site not in JOINT and not table.never_seen(site)
    )
    cells = {site: table.cell(model, site, metric) for site in sites}
    return Level(
        metric=metric,
        sites={site: found for site, found in cells.items() if found.judged},
        few={site: found for site, found in cells.items() if found.few},
    )


def against(
    rival: str, table: ScoreTable, found: Sequence[Comparison], metric: ReportedMetric
) -> list[Comparison]:
    """The run's own model against a rival of :data:`RIVALS`, over all sites first.

    Its own model is the first of the table: the federated one, or the only one.
    The best single site is the best of all ``local:`` models on each test set.
    Sites that no model sees are another question: :func:`against_unseen`.
    """
    mine = [item for item in _own(rival, table, found, metric) if not table.never_seen(item.site)]
    return sorted(mine, key=lambda item: (item.site != ALL_SITES, item.site))


def against_unseen(
    rival: str, table: ScoreTable, found: Sequence[Comparison], metric: ReportedMetric
) -> Comparison | None:
    """As :func:`against`, where no model trained: over all these sites, or at the one there is."""
    site = unseen_set(table, metric)
    return next((x for x in _own(rival, table, found, metric) if x.site == site), None)


def unseen_set(table: ScoreTable, metric: ReportedMetric) -> str:
    """The test set of the sites that no model sees: of all together, or the one; "" without any."""
    never = [site for site in table.sites_with_labels(metric) if table.never_seen(site)]
    return never[-1] if never else ""


def _own(
    rival: str, table: ScoreTable, found: Sequence[Comparison], metric: ReportedMetric
) -> list[Comparison]:
    mine = [item for item in found if item.metric == metric and item.model == table.models[0]]
    if rival != BEST_SITE:
        return [item for item in mine if item.rival == rival]
    return [item for item in mine if item.rival == _best_site(table, item.site, metric)]


def _best_site(table: ScoreTable, site: str, metric: ReportedMetric) -> str:
    """The ``local:`` model that does best on a test set; empty without any."""
    names = [name for name in table.models if name.startswith(LOCAL)]
    cells = {name: table.cell(name, site, metric) for name in names}
    values = {name: found.value for name, found in cells.items() if not found.reason}
    sign = 1 if metric.lower_is_better else -1
    return min(values, key=lambda name: sign * values[name], default="")


def not_above_floor(
    found: Sequence[Comparison], metric: ReportedMetric, own: str
) -> list[Comparison]:
    """Where networks other than the run's own model are not better than what needs none.

    Over all sites where they were compared there, else at each site; a site alone at its own.
    """
    rows = [x for x in found if x.metric == metric and x.rival == FLOOR and x.model != own]
    whole = {x.model for x in rows if x.site == ALL_SITES}
    rows = [x for x in rows if x.site == ALL_SITES or x.model not in whole]
    return [x for x in rows if x.finding != Finding.BETTER]
