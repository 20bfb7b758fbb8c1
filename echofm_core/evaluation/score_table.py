"""The site x model table: a value with its interval in each cell, or why there is none."""

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, cast

import pandas as pd

from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.evaluation.model_names import FLOOR, LEAVE_ONE_OUT, model_order
from echofm_core.evaluation.reported import ReportedMetric, reported_metrics
from echofm_core.evaluation.score import (
    ALL_SITES,
    JOINT,
    MEAN_OF_SITES,
    MEAN_UNSEEN,
    UNSEEN_SITES,
    WORST_SITE,
    WORST_UNSEEN,
)

#: What is written of a site with fewer test patients than ``evaluation.min_patients``.
TOO_FEW = "too few to judge"
#: Test patients below which a site is not judged, unless the plan says otherwise.
FEW = EvaluationConfig().min_patients
#: Labelled training patients that the floor without a network needs: one a fold, at least.
LEAST_PATIENTS = 5
_KEYS = ["model", "site", "task", "metric"]
_NUMBERS = {"value": float, "low": float, "high": float, "patients": int}


@dataclass(frozen=True, slots=True)
class Cell:
    """One score, or why there is none."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    patients: int = 0
    """Test patients behind it."""
    few: bool = False
    """Whether they are too few to judge by."""
    reason: str = ""
    """Empty where there is a value."""
    digits: int = 2
    """Decimals shown."""
    of: int = 0
    """Test patients of the set, where they are more: this model was not tested at each site."""

    def __str__(self) -> str:
        """``4.2 [3.9, 4.6]``, ``4.2 (n 7, too few to judge)``, or ``n/a``.

        Of a model that was tested on a part of the patients ``4.2 [3.9, 4.6] (n 40 of 60)``.
        """
        if self.reason:
            return "n/a"
        if self.few:
            return f"{self.number} (n {self.patients}, {TOO_FEW})"
        return " ".join(filter(None, (self.number, self.interval, self.part and f"({self.part})")))

    @property
    def judged(self) -> bool:
        """Whether there is a value, of enough patients."""
        return not self.reason and not self.few

    @property
    def part(self) -> str:
        """``n 40 of 60``; empty where the value is of all test patients."""
        return f"n {self.patients} of {self.of}" if self.of else ""

    @property
    def number(self) -> str:
        """The value as shown."""
        return f"{self.value:z.{self.digits}f}"

    @property
    def interval(self) -> str:
        """``[3.9, 4.6]``; empty where undefined."""
        if math.isnan(self.low):
            return ""
        return f"[{self.low:z.{self.digits}f}, {self.high:z.{self.digits}f}]"


class ScoreTable:
    """A score table by key: a page asks for a thousand cells, and to search a frame is slow.

    Args:
        scores: Columns model, site, task, metric, value, low, high, patients. Of rows with equal
            keys the first counts.
        few: Test patients below which a site is not judged.
        unseen: Sites that no model trained on.
    """

    def __init__(self, scores: pd.DataFrame, few: int = FEW, unseen: Collection[str] = ()) -> None:
        self._few, self._unseen = few, frozenset(unseen)
        first = scores.drop_duplicates(_KEYS).astype(_NUMBERS)
        rows = first[[*_KEYS, *_NUMBERS]].itertuples(index=False, name=None)
        self._rows: dict[tuple[str, ...], tuple[Any, ...]] = {row[:4]: row[4:] for row in rows}
        #: Models in the order shown, sites by name, and what tables are made of.
        self.models = model_order(scores["model"])
        self.sites = site_order(scores["site"], unseen)
        self.metrics = reported_metrics(scores)
        #: Models with a score of a task anywhere.
        self._learned = {(model, task) for model, _, task, _ in self._rows}
        #: (site, task) -> most test patients of any model: models of fewer tasks do not lower it.
        self._patients = cast(
            dict[tuple[str, str], int],
            first.groupby(["site", "task"])["patients"].max().to_dict(),
        )

    def cell(self, model: str, site: str, metric: ReportedMetric) -> Cell:
        """The score of a model at a site, or the reason why there is none."""
        task = metric.task.value
        if found := self._rows.get((model, site, task, metric.metric)):
            value, low, high, patients = found
            if math.isfinite(value):
                few, digits = patients < self._few, metric.digits
                most = self._patients[site, task]
                of = most if patients < most else 0
                return Cell(value, low, high, patients, few=few, digits=digits, of=of)
            return Cell(
                reason=f"undefined on the test patients there, {patients} of them "
                "(labels all alike, or a prediction that is not a number)"
            )
        if (site, task) not in self._patients:
            return Cell(reason=f"{site} has no {metric.labels} labels to test on")
        if model == LEAVE_ONE_OUT and self.never_seen(site):
            return Cell(reason="no model trained there, so that none leaves it out")
        if model == LEAVE_ONE_OUT:
            return Cell(reason=f"no other site has {metric.labels} labels to learn from")
        if model == FLOOR:
            where = "the sites that train have" if self.never_seen(site) else f"{site} has"
            return Cell(
                reason=f"{where} fewer than {LEAST_PATIENTS} labelled training patients for "
                f"{metric.labels}, or their labels are all alike"
            )
        if (model, task) in self._learned and self.never_seen(site):
            return Cell(reason="each site has a model of its own, and none trained there")
        return Cell(reason=f"this model learned from no {metric.labels} labels")

    def sites_with_labels(self, metric: ReportedMetric) -> list[str]:
        """Sites with test labels, then all of them together where it adds to them.

        Those that no model trained on come last, likewise.
        """
        there = [site for site in self.sites if (site, metric.task.value) in self._patients]
        seen = [site for site in there if site not in JOINT and not self.never_seen(site)]
        return there if len(seen) > 1 else [site for site in there if site != ALL_SITES]

    def never_seen(self, site: str) -> bool:
        """Whether a test set is of sites that no model trained on."""
        return site in self._unseen or site in (UNSEEN_SITES, MEAN_UNSEEN, WORST_UNSEEN)

    def title(self, site: str) -> str:
        """How a site is written at the head of a column."""
        return f"{site} (never seen)" if site in self._unseen else site_title(site)

    def patients_at(self, site: str, metric: ReportedMetric) -> int:
        """Test patients with labels there."""
        return self._patients.get((site, metric.task.value), 0)


def site_order(sites: Iterable[str], unseen: Collection[str] = ()) -> list[str]:
    """Sites by name and all of them together, then likewise those that no model trained on."""

    def key(site: str) -> tuple[bool, bool, str]:
        return site in unseen or site == UNSEEN_SITES, site in JOINT, site

    return sorted(set(sites), key=key)


def site_title(site: str) -> str:
    """How a test set is written at the head of a column."""
    return {ALL_SITES: "all sites", UNSEEN_SITES: "all never seen"}.get(site, site)


def at(site: str) -> str:
    """How a test set is written in a sentence."""
    joint = {
        ALL_SITES: "over all sites",
        UNSEEN_SITES: "over all sites never seen",
        MEAN_OF_SITES: "in the mean over sites",
        WORST_SITE: "at the worst site",
        MEAN_UNSEEN: "in the mean over sites never seen",
        WORST_UNSEEN: "at the worst site never seen",
    }
    return joint.get(site, f"at {site}")
