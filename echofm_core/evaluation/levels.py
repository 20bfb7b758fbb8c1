"""How a model does over the sites: the worst of them, the gap to the best, and the mean."""

from collections.abc import Collection
from dataclasses import dataclass

import pandas as pd

from echofm_core.evaluation.reported import ReportedMetric
from echofm_core.evaluation.score import JOINT
from echofm_core.evaluation.score_table import Cell, ScoreTable

#: Columns of ``levels.parquet``: a row a model, reported metric, and kind of site.
LEVEL_COLUMNS = (
    "model", "task", "metric", "never_seen", "worst_site", "worst", "gap", "best_site", "best",
    "mean", "sites",
)  # fmt: skip


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
        return min(self.sites, key=self._goodness)

    @property
    def best(self) -> str:
        """The site where it does best."""
        return max(self.sites, key=self._goodness)

    @property
    def gap(self) -> float:
        """Between the worst and the best site."""
        values = [found.value for found in self.sites.values()]
        return max(values) - min(values)

    def _goodness(self, site: str) -> float:
        value = self.sites[site].value
        return -value if self.metric.lower_is_better else value


def level(
    table: ScoreTable, model: str, metric: ReportedMetric, *, never_seen: bool = False
) -> Level:
    """A model's values at the sites that train, or at those that no model sees."""
    sites = (
        site
        for site in table.sites_with_labels(metric)
        if site not in JOINT and table.never_seen(site) is never_seen
    )
    cells = {site: table.cell(model, site, metric) for site in sites}
    return Level(
        metric=metric,
        sites={site: found for site, found in cells.items() if found.judged},
        few={site: found for site, found in cells.items() if found.few},
    )


def level_table(scores: pd.DataFrame, few: int, unseen: Collection[str] = ()) -> pd.DataFrame:
    """Worst site, gap and mean of every model, seen and unseen sites apart.

    Args:
        scores: Columns model, site, task, metric, value, low, high, patients.
        few: Test patients below which a site is not judged, and does not count here.
        unseen: Sites that no model trained on.

    Returns:
        Columns :data:`LEVEL_COLUMNS`.
    """
    table = ScoreTable(scores, few, unseen)
    rows = [
        (
            model, metric.task.value, metric.metric, never, found.worst,
            found.sites[found.worst].value, found.gap, found.best, found.sites[found.best].value,
            found.mean, len(found.sites),
        )
        for never in (False, True)
        for metric in table.metrics
        for model in table.models
        if (found := level(table, model, metric, never_seen=never)).sites
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(LEVEL_COLUMNS))


@dataclass(frozen=True, slots=True)
class Lead:
    """What a table of scores begins with: a column for all models."""

    title: str
    numbers: dict[str, float]
    """Model -> worst value, gap or mean; models that were not tested at two sites have none."""
    details: dict[str, str]
    """Model -> name of the worst site, or how many sites; empty where nothing is to be added."""
    lower_is_better: bool

    def text(self, model: str, digits: int) -> str:
        """``7.0 (camus)``, or ``n/a``."""
        if (value := self.numbers.get(model)) is None:
            return "n/a"
        detail = self.details[model]
        return f"{value:z.{digits}f} ({detail})" if detail else f"{value:z.{digits}f}"


def leads(table: ScoreTable, metric: ReportedMetric) -> list[Lead]:
    """Worst site, gap and mean; then those of sites never seen; none where there is one site."""
    found = []
    for never in (False, True):
        levels = {m: level(table, m, metric, never_seen=never) for m in table.models}
        levels = {model: one for model, one in levels.items() if len(one.sites) > 1}
        if not levels:
            continue
        most, lower = max(len(one.sites) for one in levels.values()), metric.lower_is_better
        tail = ", never seen" if never else ""
        worst = {model: one.sites[one.worst].value for model, one in levels.items()}
        partly = {
            model: f"of {len(one.sites)} sites" if len(one.sites) < most else ""
            for model, one in levels.items()
        }
        found += [
            Lead(f"worst site{tail}", worst, {m: one.worst for m, one in levels.items()}, lower),
            Lead(f"gap{tail}", {m: one.gap for m, one in levels.items()}, partly, True),
            Lead(f"mean{tail}", {m: one.mean for m, one in levels.items()}, partly, lower),
        ]
    return found
