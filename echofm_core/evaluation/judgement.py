"""What the tables of a run say of its model: levels over sites, and answers from paired rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from echofm_core.evaluation.cells import Cell, cell, sites_with_labels
from echofm_core.evaluation.headline import Headline, headline_of
from echofm_core.evaluation.model_names import (
    FLOOR,
    LEAVE_ONE_OUT,
    LOCAL,
    POOLED,
    model_order,
    model_title,
)
from echofm_core.evaluation.paired import PAIRED_COLUMNS, Finding
from echofm_core.evaluation.score import ALL_SITES

#: The rival that is another model at each site.
BEST_SITE = "best"
#: What the federated model is measured against, as sentences name it.
RIVALS = {
    BEST_SITE: "the best single site",
    POOLED: "pooled data",
    LEAVE_ONE_OUT: "leave one out (the site unseen)",
    FLOOR: model_title(FLOOR),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A row of the paired table: the first model minus its rival at a site."""

    headline: Headline
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
        digits = self.headline.digits + 1
        value, low, high = (f"{x:+z.{digits}f}" for x in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """How a model does in one headline metric over the sites that can be judged.

    Attributes:
        headline: The metric.
        sites: Site -> its value, of sites with enough patients.
        few: Site -> its value, of the others.
    """

    headline: Headline
    sites: dict[str, Cell]
    few: dict[str, Cell]

    @property
    def mean(self) -> float:
        """Mean over the sites, each counting once."""
        return sum(found.value for found in self.sites.values()) / len(self.sites)

    @property
    def worst(self) -> str:
        """The site where the model does worst."""
        sign = -1 if self.headline.lower_is_better else 1
        return min(self.sites, key=lambda site: sign * self.sites[site].value)

    @property
    def gap(self) -> float:
        """Between the worst and the best site."""
        values = [found.value for found in self.sites.values()]
        return max(values) - min(values)


def comparisons(paired: pd.DataFrame) -> list[Comparison]:
    """The rows of a paired table, in its order."""
    found = []
    for row in paired[list(PAIRED_COLUMNS)].to_dict("records"):
        item = headline_of(row["task"], row["metric"])
        if item is not None:
            values = {name: row[name] for name in ("model", "rival", "site", "value", "low")}
            finding = Finding(row["finding"])
            patients = int(row["patients"])
            found.append(
                Comparison(
                    headline=item, high=row["high"], patients=patients, finding=finding, **values
                )
            )
    return found


def level(scores: pd.DataFrame, model: str, headline: Headline, few: int) -> Level:
    """A model's values at the sites where it was tested."""
    cells = {
        site: cell(scores, model, site, headline, few)
        for site in sites_with_labels(scores, headline)
        if site != ALL_SITES
    }
    there = {site: found for site, found in cells.items() if not found.reason}
    return Level(
        headline=headline,
        sites={site: found for site, found in there.items() if not found.few},
        few={site: found for site, found in there.items() if found.few},
    )


def main_model(models: Iterable[str]) -> str:
    """The model that a run is about: the federated one, else the first."""
    return model_order(models)[0]


def against(
    rival: str, scores: pd.DataFrame, found: Sequence[Comparison], headline: Headline, few: int
) -> list[Comparison]:
    """The run's own model against a rival of :data:`RIVALS`, over all sites first.

    The best single site is the best of all ``local:`` models on each test set.
    """
    own = main_model(scores["model"])
    mine = [item for item in found if item.headline == headline and item.model == own]
    if rival != BEST_SITE:
        mine = [item for item in mine if item.rival == rival]
    else:
        best = {site: best_site(scores, site, headline, few) for site in {x.site for x in mine}}
        mine = [item for item in mine if item.rival == best[item.site]]
    return sorted(mine, key=lambda item: (item.site != ALL_SITES, item.site))


def best_site(scores: pd.DataFrame, site: str, headline: Headline, few: int) -> str:
    """The ``local:`` model that does best on a test set; empty without any."""
    names = [name for name in model_order(scores["model"]) if name.startswith(LOCAL)]
    cells = {name: cell(scores, name, site, headline, few) for name in names}
    values = {name: found.value for name, found in cells.items() if not found.reason}
    sign = 1 if headline.lower_is_better else -1
    return min(values, key=lambda name: sign * values[name], default="")


def not_above_floor(found: Sequence[Comparison], headline: Headline, own: str) -> list[Comparison]:
    """Where networks other than the run's own model are not better than what needs none.

    Over all sites where they were compared there, else at each site; a site alone at its own.
    """
    rows = [
        item
        for item in found
        if item.headline == headline and item.rival == FLOOR and item.model != own
    ]
    whole = {item.model for item in rows if item.site == ALL_SITES}
    return [
        item
        for item in rows
        if item.finding != Finding.BETTER and (item.site == ALL_SITES or item.model not in whole)
    ]
