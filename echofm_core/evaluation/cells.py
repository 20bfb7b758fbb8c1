"""One cell of the site x model table: a value with its interval, or why there is none."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from echofm_core.evaluation.headline import Headline
from echofm_core.evaluation.model_names import FLOOR, LEAVE_ONE_OUT
from echofm_core.evaluation.score import ALL_SITES

#: What is said of a site with fewer test patients than ``evaluation.min_patients``.
TOO_FEW = "too few to judge"
#: Labelled training patients that the floor without a network needs: one a fold, at least.
LEAST_PATIENTS = 5
_COLUMNS = ("model", "site", "task", "metric", "value", "low", "high", "patients")


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One score, or why there is none.

    Attributes:
        value, low, high: NaN where undefined.
        patients: Test patients behind it.
        few: Whether they are too few to judge by.
        reason: Empty where there is a value.
        digits: Decimals shown.
    """

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    patients: int = 0
    few: bool = False
    reason: str = ""
    digits: int = 2

    def __str__(self) -> str:
        """``4.2 [3.9, 4.6]``, ``4.2 (n 7, too few to judge)``, or ``n/a``."""
        if self.reason:
            return "n/a"
        if self.few:
            return f"{self.number} (n {self.patients}, {TOO_FEW})"
        return f"{self.number} {self.interval}".rstrip()

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


def cell(scores: pd.DataFrame, model: str, site: str, headline: Headline, few: int) -> Cell:
    """One cell of the table, with the reason where it is empty.

    Args:
        scores: Columns model, site, task, metric, value, low, high, patients.
        model: Row.
        site: Column.
        headline: Which table.
        few: Test patients below which a site is not judged.
    """
    table = _looked_up(scores)
    if found := table.rows.get((model, site, headline.task.value, headline.metric)):
        value, low, high, patients = found
        if math.isfinite(value):
            return Cell(
                value=value,
                low=low,
                high=high,
                patients=patients,
                few=patients < few,
                digits=headline.digits,
            )
        return Cell(
            reason=f"undefined on the test patients there, {patients} of them "
            "(labels all alike, or a prediction that is not a number)"
        )
    if (site, headline.task.value) not in table.tested:
        return Cell(reason=f"{site} has no {headline.labels} labels to test on")
    if model == LEAVE_ONE_OUT:
        return Cell(reason=f"no other site has {headline.labels} labels to learn from")
    if model == FLOOR:
        return Cell(
            reason=f"{site} has fewer than {LEAST_PATIENTS} labelled training patients for "
            f"{headline.labels}, or their labels are all alike"
        )
    return Cell(reason=f"this model learned from no {headline.labels} labels")


@dataclass(frozen=True, slots=True)
class _Lookup:
    """A score table by key.

    Attributes:
        rows: (model, site, task, metric) -> value, low, high, patients; the first of equal keys.
        tested: Pairs of a site and a task that some model has a score for.
    """

    rows: dict[tuple[str, str, str, str], tuple[float, float, float, int]]
    tested: frozenset[tuple[str, str]]


#: Lookup of each table that is in use, by the frame's ``id``. A page asks for a thousand cells of
#: one table, and to search a frame takes milliseconds each time; nobody changes a score table.
_lookups: dict[int, _Lookup] = {}


def _looked_up(scores: pd.DataFrame) -> _Lookup:
    if (known := _lookups.get(id(scores))) is not None:
        return known
    rows: dict[tuple[str, str, str, str], tuple[float, float, float, int]] = {}
    for model, site, task, metric, value, low, high, patients in zip(
        *(scores[name].tolist() for name in _COLUMNS), strict=True
    ):
        key = (model, site, task, metric)
        rows.setdefault(key, (float(value), float(low), float(high), int(patients)))
    found = _Lookup(rows, frozenset((site, task) for _, site, task, _ in rows))
    _lookups[id(scores)] = found
    weakref.finalize(scores, _lookups.pop, id(scores), None)  # an id is used again
    return found


def site_order(scores: pd.DataFrame, sites: Iterable[str] = ()) -> list[str]:
    """All sites by name, the pooled test set last."""
    names = {*scores["site"], *sites}
    return [*sorted(names - {ALL_SITES}), *([ALL_SITES] if ALL_SITES in names else [])]


def sites_with_labels(scores: pd.DataFrame, headline: Headline) -> list[str]:
    """Sites with test labels for a headline, then the pooled test set where it adds to them."""
    there = site_order(scores[scores["task"] == headline.task.value])
    return there if len(there) > 2 else [site for site in there if site != ALL_SITES]


def site_title(site: str) -> str:
    """How a site is written at the head of a column."""
    return "all sites" if site == ALL_SITES else site


def at(site: str) -> str:
    """How a site is written in a sentence."""
    return "over all sites" if site == ALL_SITES else f"at {site}"


def patients_at(scores: pd.DataFrame, headline: Headline, site: str) -> int:
    """Test patients with labels there; models of fewer tasks do not lower it."""
    rows = scores[(scores["task"] == headline.task.value) & (scores["site"] == site)]
    return int(rows["patients"].max()) if len(rows) else 0
