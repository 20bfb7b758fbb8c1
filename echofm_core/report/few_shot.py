"""The section on what a few patients of an unseen site are worth: a curve a metric, and a table."""

import math
from pathlib import Path

import pandas as pd
from matplotlib.ticker import MaxNLocator

from echofm_core.evaluation.few_shot import FEW_SHOT
from echofm_core.evaluation.reported import reported_metrics
from echofm_core.evaluation.score_table import TOO_FEW, Cell
from echofm_core.pages.chart import Chart, chart
from echofm_core.pages.grid import Grid
from echofm_core.pages.style import line_style, look, panels


def read_few_shot(run: Path) -> pd.DataFrame:
    """``few_shot.parquet`` of a run folder; empty where there is none that can be read."""
    try:
        return pd.read_parquet(run / f"{FEW_SHOT}.parquet")
    except Exception:  # pyarrow raises many kinds for a damaged file
        return pd.DataFrame()


def few_shot_table(table: pd.DataFrame, few: int) -> Grid | None:
    """A row a site and metric, a column a number of patients; None without any.

    A site with fewer than ``few`` test patients has its values, and is not judged.
    """
    if table.empty:
        return None
    counts = sorted(table["shots"].unique())
    rows = []
    for site, here in table.groupby("site"):
        for metric in reported_metrics(here):
            values = here[(here["task"] == metric.task.value) & (here["metric"] == metric.metric)]
            tested, values = int(values["patients"].max()), values.dropna(subset=["value"])
            if tested < few:
                values = values.assign(low=math.nan, high=math.nan)
            numbers = values[["value", "low", "high"]].to_numpy(dtype=float)
            cells = {
                shots: str(Cell(value, low, high, digits=metric.digits))
                for shots, (value, low, high) in zip(values["shots"], numbers, strict=True)
            }
            words = str(tested) if tested >= few else f"{tested}, {TOO_FEW}"
            rows.append((str(site), metric.title, words, *(cells.get(n, "") for n in counts)))
    titles = ("site", "metric", "test patients", *(f"{n} patients" for n in counts))
    return Grid(columns=titles, rows=tuple(rows), numbers=frozenset(range(2, len(titles))))


def few_shot_curves(table: pd.DataFrame) -> Chart | None:
    """A panel a headline metric, a line a site, with intervals; None without any."""
    metrics = [] if table.empty else [m for m in reported_metrics(table) if m.verdict]
    if not metrics:
        return None
    sites = sorted(table["site"].unique())
    with look():
        figure, axes = panels(len(metrics), width=min(10.6, 3.6 * len(metrics) + 1), height=3.2)
        for axis, metric in zip(axes, metrics, strict=True):
            own = (table["task"] == metric.task.value) & (table["metric"] == metric.metric)
            for number, site in enumerate(sites):
                line = table[own & (table["site"] == site)].sort_values("shots")
                style = line_style(number)
                axis.plot(
                    line["shots"], line["value"], marker="o", markersize=4, label=site, **style
                )
                axis.fill_between(
                    line["shots"], line["low"], line["high"], color=style["color"], alpha=0.12
                )
            axis.set(title=metric.title, xlabel="patients of the site in training")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes[0].legend()
        words = f"scores by the number of a site's patients in training, sites {sites}"
        return chart(figure, words, "few-shot", table)
