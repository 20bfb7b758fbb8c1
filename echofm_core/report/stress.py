"""What changes of the test clips cost a model: tables for the page and for a terminal."""

import math
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from echofm_core.evaluation.reported import ReportedMetric, reported_metrics
from echofm_core.evaluation.score import MEANS, WORST
from echofm_core.evaluation.stress.stressors import CLEAN, STRESSORS
from echofm_core.evaluation.stress.table import STRESS, STRESS_COLUMNS
from echofm_core.pages.grid import Grid, terminal_table
from echofm_core.runtime.text import many

#: Columns that may be empty for a number that there is not.
NUMBERS = ("clean", "value", "loss", "low", "high")
#: Said wherever the numbers are shown.
SYNTHETIC = (
    "Each test clip was changed by computation, in one way at a time. The changes are synthetic: "
    "they imitate other recordings of the same hearts, and none was made."
)


def read_stress(run: Path) -> pd.DataFrame:
    """``stress.csv`` of a run folder; empty where there is none that can be read."""
    try:
        table = pd.read_csv(
            run / STRESS,
            keep_default_na=False,  # a site may be called NA
            na_values=dict.fromkeys(NUMBERS, ""),
        )
        return table[[*STRESS_COLUMNS, "left_out"]]
    except (OSError, ValueError, KeyError):
        return pd.DataFrame()


def stress_words(table: pd.DataFrame) -> str:
    """What was done, in sentences; empty without a table."""
    if table.empty:
        return ""
    made = (f"{item.name}: {item.words}" for item in STRESSORS if item.name in set(table["change"]))
    lost = int(table["left_out"].max())
    left = f" {many(lost, 'clip')} that could not be read or changed count nowhere." if lost else ""
    return f"{SYNTHETIC} What is changed, {'; '.join(made)}.{left}"


def stress_grids(table: pd.DataFrame) -> dict[str, Grid]:
    """Title of each task's metric, of measurements MAE and R² -> a row a change and strength.

    Across: value and loss in the mean over sites and at the worst site, and likewise where no model
    trained; at the one site, where there is no more than one of a kind.
    """
    metrics = [item for item in _metrics(table) if item.verdict or item.metric == "r2"]
    return {metric.heading: _grid(table, metric) for metric in metrics}


def print_stress(run: Path, console: Console) -> None:
    """Print one table a task of a run folder; R² and intervals are in its file and its page."""
    table = read_stress(run)
    console.print(stress_words(table), markup=False)
    for metric in (item for item in _metrics(table) if item.verdict):
        console.print(f"\n{metric.heading}; loss above 0: worse; *: interval without 0")
        console.print(terminal_table(_grid(table, metric, short=True), console.width))
    console.print(f"stress: {run / STRESS}", markup=False)


def _metrics(table: pd.DataFrame) -> list[ReportedMetric]:
    return [] if table.empty else reported_metrics(table)


def _grid(table: pd.DataFrame, metric: ReportedMetric, *, short: bool = False) -> Grid:
    """A short one fits a terminal: without intervals and the names of the worst sites."""
    rows = table[(table["task"] == metric.task.value) & (table["metric"] == metric.metric)]
    shown = _shown(rows)
    lines = [
        (*([f"{change} {written}".rstrip()] if short else [change, written]), *cells)
        for (change, written), part in rows.groupby(["change", "written"], sort=False)
        if (cells := _cells(part, shown, metric, short=short))
    ]
    first = ("change",) if short else ("change", "strength")
    titles = (*first, *(text for site in shown for text in (_title(site, rows), f"loss, {site}")))
    numbers = frozenset(range(len(first), len(titles)))
    return Grid(columns=titles, rows=tuple(lines), numbers=numbers)


def _shown(rows: pd.DataFrame) -> list[str]:
    """Of either kind of sites the mean and the worst; where there is neither, the one site."""
    found: list[str] = []
    for _, part in rows.groupby("never_seen"):
        sites = [str(site) for site in part["site"].unique()]
        found += [site for site in sites if site in MEANS | WORST] or sites
    return found


def _title(site: str, rows: pd.DataFrame) -> str:
    here = rows[rows["site"] == site]
    never = "never seen, " if here["never_seen"].any() and site not in MEANS | WORST else ""
    return f"{site} ({never}n {int(here['patients'].max())})"


def _cells(
    part: pd.DataFrame, shown: list[str], metric: ReportedMetric, *, short: bool
) -> list[str]:
    """Value and loss at each of the sites."""
    by_site = {row["site"]: row for row in part.to_dict("records")}
    cells = []
    for site in shown:
        if (row := by_site.get(site)) is None or math.isnan(row["value"]):
            cells += ["n/a", ""]
            continue
        where = f" ({row['worst']})" if site in WORST and not short else ""
        cells += [f"{row['value']:z.{metric.digits}f}{where}", _loss(row, metric.digits + 1, short)]
    return cells


def _loss(row: Mapping[Hashable, Any], digits: int, short: bool) -> str:
    """``+0.84 [+0.12, +1.56]``, or ``+0.84*``; empty of the clips as they are."""
    if row["change"] == CLEAN.name:
        return ""
    low, high = (f"{row[end]:+z.{digits}f}" for end in ("low", "high"))
    clear = row["low"] > 0 or row["high"] < 0
    interval = "" if math.isnan(row["low"]) else f" [{low}, {high}]"
    return f"{row['loss']:+z.{digits}f}{'*' * clear if short else interval}"
