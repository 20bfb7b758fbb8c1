"""The site x model table: as text, as a frame, and what it says in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd
from rich.console import Console
from rich.table import Table

from echofm_core.evaluation.headline import Headline, headlines_of
from echofm_core.evaluation.model_names import (
    FEDERATED,
    LEAVE_ONE_OUT,
    LOCAL,
    model_order,
    model_title,
)
from echofm_core.evaluation.score import ALL_SITES


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One score, or why there is none.

    Attributes:
        value, low, high: NaN where undefined.
        reason: Empty where there is a value.
        digits: Decimals shown.
    """

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    reason: str = ""
    digits: int = 2

    def __str__(self) -> str:
        """``4.2 [3.9, 4.6]``, or ``n/a``."""
        if self.reason:
            return "n/a"
        value, low, high = (f"{x:z.{self.digits}f}" for x in (self.value, self.low, self.high))
        return value if math.isnan(self.low) else f"{value} [{low}, {high}]"

    def overlaps(self, other: Cell) -> bool:
        """Whether the intervals meet; a missing interval is taken to meet everything."""
        return not (self.low > other.high or other.low > self.high)


def site_order(scores: pd.DataFrame, sites: Iterable[str] = ()) -> list[str]:
    """All sites by name, the pooled test set last."""
    names = {*scores["site"], *sites}
    return [*sorted(names - {ALL_SITES}), *([ALL_SITES] if ALL_SITES in names else [])]


def sites_with_labels(scores: pd.DataFrame, headline: Headline) -> list[str]:
    """Sites with test labels for a headline, then the pooled test set where it adds to them."""
    there = site_order(scores[scores["task"] == headline.task.value])
    return there if len(there) > 2 else [site for site in there if site != ALL_SITES]


def cell(scores: pd.DataFrame, model: str, site: str, headline: Headline) -> Cell:
    """One cell of the table, with the reason where it is empty."""
    of_task = scores[scores["task"] == headline.task.value]
    of_metric = of_task[of_task["metric"] == headline.metric]
    found = of_metric[(of_metric["model"] == model) & (of_metric["site"] == site)]
    if len(found):
        row = found.iloc[0]
        value, low, high = (float(row[name]) for name in ("value", "low", "high"))
        if math.isfinite(value):
            return Cell(value=value, low=low, high=high, digits=headline.digits)
        return Cell(
            reason=f"undefined on the {int(row['patients'])} test patients there "
            "(labels all alike, or a prediction that is not a number)"
        )
    if not (of_task["site"] == site).any():
        return Cell(reason=f"{site} has no {headline.labels} labels to test on")
    if model == LEAVE_ONE_OUT:
        return Cell(reason=f"no other site has {headline.labels} labels to learn from")
    return Cell(reason=f"this model learned from no {headline.labels} labels")


def site_by_model(scores: pd.DataFrame, sites: Sequence[str] = ()) -> pd.DataFrame:
    """The table as a frame.

    Args:
        scores: Columns model, site, task, metric, value, low, high, patients.
        sites: Sites to show besides those with scores.

    Returns:
        One row a model, columns (site, headline), cells ``value [low, high]`` or ``n/a``.
    """
    columns = [(site, item) for site in site_order(scores, sites) for item in headlines_of(scores)]
    models = model_order(scores["model"])
    rows = [[str(cell(scores, model, site, item)) for site, item in columns] for model in models]
    names = pd.MultiIndex.from_tuples(
        [(site, item.title) for site, item in columns], names=["site", "metric"]
    )
    return pd.DataFrame(rows, index=pd.Index(models, name="model"), columns=names)


def print_site_by_model(scores: pd.DataFrame, console: Console, sites: Sequence[str] = ()) -> None:
    """Print one table a headline metric (sites across, models down), then the verdict.

    Args:
        scores: Columns model, site, task, metric, value, low, high, patients.
        console: Where to.
        sites: Sites to name besides those with scores.
    """
    if not (headlines := headlines_of(scores)):
        console.print("no site has test labels for any task of the plan: nothing to compare.")
        return
    for item in headlines:
        _print_one(scores, item, console, sites)
    for line in verdict(scores):
        console.print(f"- {line}")
    for line in published_convention(scores):
        console.print(line, style="dim")


def _print_one(
    scores: pd.DataFrame, headline: Headline, console: Console, sites: Sequence[str]
) -> None:
    better = "lower" if headline.lower_is_better else "higher"
    shown = sites_with_labels(scores, headline)
    table = Table(title=f"{headline.title}, {better} is better", title_justify="left")
    table.add_column("model", no_wrap=True)
    for site in shown:
        table.add_column("all sites" if site == ALL_SITES else site, justify="right")
    reasons: dict[str, None] = {}
    for model in model_order(scores["model"]):
        cells = [cell(scores, model, site, headline) for site in shown]
        table.add_row(model_title(model), *map(str, cells))
        for item in cells:
            if item.reason:
                reasons[f"{model_title(model)}: {item.reason}"] = None
    for site in site_order(scores, sites):
        if site not in (*shown, ALL_SITES):
            reasons[cell(scores, FEDERATED, site, headline).reason] = None
    console.print(table)
    if reasons:
        console.print(f"n/a: {'; '.join(reasons)}.", style="dim")


def verdict(scores: pd.DataFrame) -> list[str]:
    """One sentence a headline and site: is the federation worth it against the best site alone?

    The best single site is the best of all ``local:`` models on that test set, which favours it.
    """
    lines = []
    locals_ = [model for model in model_order(scores["model"]) if model.startswith(LOCAL)]
    for item in headlines_of(scores):
        for site in sites_with_labels(scores, item):
            ours = cell(scores, FEDERATED, site, item)
            rivals = {model: cell(scores, model, site, item) for model in locals_}
            rivals = {model: rival for model, rival in rivals.items() if not rival.reason}
            if ours.reason or not rivals:
                continue
            sign = 1 if item.lower_is_better else -1
            best = min(rivals, key=lambda model: sign * rivals[model].value)
            lines.append(_sentence(item, site, ours, rivals[best], model_title(best)))
    return lines


def _sentence(item: Headline, site: str, ours: Cell, theirs: Cell, best: str) -> str:
    # As shown: "0.98 is worse than 0.98" helps nobody.
    mine, other = round(ours.value, item.digits), round(theirs.value, item.digits)
    if item.better(other, mine):
        word = "WORSE than"
    elif item.better(mine, other):
        word = "better than"
    else:
        word = "equal to"
    sure = (
        "the intervals overlap, so the difference may be chance"
        if ours.overlaps(theirs)
        else "the intervals do not overlap"
    )
    where = "over all sites" if site == ALL_SITES else f"at {site}"
    return (
        f"{item.title} {where}: federated {ours} is {word} the best single site "
        f"({best}, {theirs}); {sure}."
    )


def published_convention(scores: pd.DataFrame) -> list[str]:
    """Reduced EF of the federated model as the published tables count it, beside the baseline.

    There, positive means a normal EF, so that saying "normal" to everybody already scores well
    (reference: Echo-Vision-FM, abstract; released code).
    """
    rows = scores[(scores["task"] == "reduced_ef") & (scores["model"] == FEDERATED)]
    lines = []
    for site in site_order(rows):
        of_site = rows[rows["site"] == site].set_index("metric")["value"]
        value = {name: float(of_site.get(name, math.nan)) for name in _PUBLISHED}
        lines.append(
            f"published convention (positive = normal EF), {site}: "
            f"accuracy {value['accuracy']:.2f}, F1 {value['f1_negative']:.2f}; "
            f"calling everybody normal: accuracy {value['all_negative_accuracy']:.2f}, "
            f"F1 {value['all_negative_f1']:.2f}."
        )
    return lines


_PUBLISHED = ("accuracy", "f1_negative", "all_negative_accuracy", "all_negative_f1")
