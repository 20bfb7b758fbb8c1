"""The site x model table: as text and as a frame."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from rich.console import Console
from rich.table import Table

from echofm_core.evaluation.cells import (
    cell,
    patients_at,
    site_order,
    site_title,
    sites_with_labels,
)
from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.evaluation.headline import Headline, headlines_of
from echofm_core.evaluation.model_names import FEDERATED, model_order, model_title
from echofm_core.evaluation.score import ALL_SITES

#: Test patients below which a site is not judged, unless the plan says otherwise.
FEW = EvaluationConfig().min_patients


def site_by_model(scores: pd.DataFrame, sites: Sequence[str] = (), few: int = FEW) -> pd.DataFrame:
    """The table as a frame.

    Args:
        scores: Columns model, site, task, metric, value, low, high, patients.
        sites: Sites to show besides those with scores.
        few: Test patients below which a site is not judged.

    Returns:
        One row a model, columns (site, headline), cells ``value [low, high]``, ``value (n 7, too
        few to judge)`` or ``n/a``.
    """
    columns = [(site, item) for site in site_order(scores, sites) for item in headlines_of(scores)]
    models = model_order(scores["model"])
    rows = [
        [str(cell(scores, model, site, item, few)) for site, item in columns] for model in models
    ]
    names = pd.MultiIndex.from_tuples(
        [(site, item.title) for site, item in columns], names=["site", "metric"]
    )
    return pd.DataFrame(rows, index=pd.Index(models, name="model"), columns=names)


def print_site_by_model(
    scores: pd.DataFrame, console: Console, sites: Sequence[str] = (), few: int = FEW
) -> None:
    """Print one table a headline metric: sites across, models down.

    Args:
        scores: Columns model, site, task, metric, value, low, high, patients.
        console: Where to.
        sites: Sites to name besides those with scores.
        few: Test patients below which a site is not judged.
    """
    if not (headlines := headlines_of(scores)):
        console.print("no site has test labels for any task of the plan: nothing to compare.")
        return
    for item in headlines:
        _print_one(scores, item, console, sites, few)


def _print_one(
    scores: pd.DataFrame, headline: Headline, console: Console, sites: Sequence[str], few: int
) -> None:
    shown = sites_with_labels(scores, headline)
    table = Table(title=headline.heading, title_justify="left")
    table.add_column("model", no_wrap=True)
    for site in shown:
        patients = patients_at(scores, headline, site)
        table.add_column(f"{site_title(site)} (n {patients})", justify="right")
    reasons: dict[str, None] = {}
    for model in model_order(scores["model"]):
        cells = [cell(scores, model, site, headline, few) for site in shown]
        table.add_row(model_title(model), *map(str, cells))
        for item in cells:
            if item.reason:
                reasons[f"{model_title(model)}: {item.reason}"] = None
    for site in site_order(scores, sites):
        if site not in (*shown, ALL_SITES):
            reasons[cell(scores, FEDERATED, site, headline, few).reason] = None
    console.print(table)
    if reasons:
        console.print(f"n/a: {'; '.join(reasons)}.", style="dim")
