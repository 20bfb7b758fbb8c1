"""The site x model table as heat maps: darker is better, grey has a reason.

One hue from pale to dark, so that lightness alone carries it, in print too.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pandas as pd

from echofm_core.evaluation.levels import Lead, leads
from echofm_core.evaluation.model_names import model_title
from echofm_core.evaluation.reported import ReportedMetric
from echofm_core.evaluation.score import JOINT
from echofm_core.evaluation.score_table import TOO_FEW, Cell, ScoreTable, site_order
from echofm_core.pages.chart import csv_uri

#: Ends of the heat map: worst and best.
PALE, DARK = (239, 243, 248), (8, 69, 128)
#: From this goodness on white is easier to read than black.
WHITE_FROM = 0.7
#: Of worst site, gap and mean.
LEAD_STYLE = "background:none"
#: Columns of the data behind a heat map.
DATA_COLUMNS = ("model", "site", "value", "low", "high", "patients")


@dataclass(frozen=True, kw_only=True, slots=True)
class HeatCell:
    """One drawn cell.

    Attributes:
        value: Number, or ``n/a``.
        interval: ``3.9 to 4.6``, or that there are too few patients; empty without either.
        note: Number of the footnote that says why there is no value; 0: there is one.
        style: CSS; empty for a cell without value, or that is not judged.
        best: Whether it is the best of its column.
    """

    value: str
    interval: str = ""
    note: int = 0
    style: str = ""
    best: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class HeatMap:
    """One table: a metric, models down, sites across.

    Attributes:
        title: The metric.
        better: ``lower`` or ``higher``.
        columns: Titles, of worst site, gap and mean and then of sites; with what stands below.
        rows: Model title and its cells.
        notes: Reasons of empty cells, numbered from 1.
        name: File name of its data, without ending.
        csv: ``data:`` address of the scores behind it.
    """

    title: str
    better: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, tuple[HeatCell, ...]], ...]
    notes: tuple[str, ...]
    name: str
    csv: str


def heat_maps(
    scores: pd.DataFrame, sites: Sequence[str], few: int, unseen: Collection[str] = ()
) -> list[HeatMap]:
    """One heat map a metric that has scores.

    Args:
        scores: Columns model, site, task, metric, value, low, high, patients.
        sites: All sites of the run; those without test labels are shown, in grey.
        few: Test patients below which a site is not judged.
        unseen: Sites that no model trained on.
    """
    table = ScoreTable(scores, few, unseen)
    return [
        _heat_map(table, metric, _columns(table, metric, sites, unseen), scores)
        for metric in table.metrics
    ]


def _columns(
    table: ScoreTable, metric: ReportedMetric, sites: Sequence[str], unseen: Collection[str]
) -> list[str]:
    """Every site, and all together where that adds to them."""
    joint = JOINT.intersection(table.sites_with_labels(metric))
    return site_order({*table.sites, *sites} - JOINT | joint, unseen)


def _heat_map(
    table: ScoreTable, metric: ReportedMetric, shown: Sequence[str], scores: pd.DataFrame
) -> HeatMap:
    grid = {(m, s): table.cell(m, s, metric) for m in table.models for s in shown}
    values = [found.value for found in grid.values() if found.judged]
    worst, best = (max, min) if metric.lower_is_better else (min, max)
    ends = (worst(values, default=0.0), best(values, default=0.0))
    top = {
        site: best(
            (c.value for (_, s), c in grid.items() if s == site and c.judged and not c.of),
            default=0,
        )
        for site in shown
    }
    notes: dict[str, int] = {}
    own = (scores["task"] == metric.task.value) & (scores["metric"] == metric.metric)
    first = leads(table, metric)
    rows = tuple(
        (
            model_title(model),
            (
                *(_lead_cell(lead, model, metric) for lead in first),
                *(_cell(grid[model, site], ends, top[site], notes) for site in shown),
            ),
        )
        for model in table.models
    )
    return HeatMap(
        title=metric.title,
        better="lower" if metric.lower_is_better else "higher",
        columns=(
            *((lead.title, "") for lead in first),
            *((table.title(site), _patients(table.patients_at(site, metric))) for site in shown),
        ),
        rows=rows,
        notes=tuple(notes),
        name=f"scores-{metric.task.value}-{metric.metric}",
        csv=csv_uri(scores.loc[own, list(DATA_COLUMNS)]),
    )


def _patients(count: int) -> str:
    return f"{count} patients" if count else "no labels"


def _lead_cell(lead: Lead, model: str, metric: ReportedMetric) -> HeatCell:
    """Without a shade: it would count the sites twice."""
    if (value := lead.numbers.get(model)) is None:
        return HeatCell(value="n/a", interval="fewer than two sites")
    best = (min if lead.lower_is_better else max)(lead.numbers.values())
    return HeatCell(
        value=f"{value:z.{metric.digits}f}",
        interval=lead.details[model],
        style=LEAD_STYLE,
        best=value == best,
    )


def shade(goodness: float) -> str:
    """CSS of a cell; its text has the colour of more contrast, at least 4.5 to 1 on any shade.

    Args:
        goodness: 0 worst to 1 best of the table.
    """
    rgb = [round(low + (high - low) * goodness) for low, high in zip(PALE, DARK, strict=True)]
    ink = "#ffffff" if goodness > WHITE_FROM else "#000000"
    return f"background:rgb({','.join(map(str, rgb))});color:{ink}"


def _cell(found: Cell, ends: tuple[float, float], top: float, notes: dict[str, int]) -> HeatCell:
    if found.reason:
        return HeatCell(value="n/a", note=notes.setdefault(found.reason, len(notes) + 1))
    if found.few:
        return HeatCell(value=found.number, interval=f"n {found.patients}, {TOO_FEW}")
    worst, best = ends
    goodness = (found.value - worst) / (best - worst) if best != worst else 1.0
    return HeatCell(
        value=found.number,
        interval=", ".join(
            filter(None, (found.interval.strip("[]").replace(", ", " to "), found.part))
        ),
        style=shade(goodness),
        best=found.value == top and not found.of,
    )
