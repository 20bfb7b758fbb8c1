"""Ranks of models over sites as a picture: whom the critical difference does not part is joined."""

import math

import pandas as pd
from matplotlib.axes import Axes

from echofm_core.evaluation.model_names import model_title
from echofm_core.evaluation.reported import ReportedMetric
from echofm_core.evaluation.score import JOINT
from echofm_core.evaluation.score_table import ScoreTable
from echofm_core.evaluation.site_ranks import LEAST_SITES, SiteRanks, site_ranks
from echofm_core.pages.chart import Chart, chart
from echofm_core.pages.style import BLUE, GREY, INK, look, panels
from echofm_core.report.run_files import RunFiles


def rank_charts(run: RunFiles) -> tuple[list[Chart], list[str]]:
    """A picture a metric of the verdict, and a sentence for each that has too few sites.

    Over the sites that train and can be judged; of the models that were tested at all of them.
    """
    table = ScoreTable(run.scores, run.plan.evaluation.min_patients, run.unseen)
    charts, reasons = [], []
    for metric in (metric for metric in table.metrics if metric.verdict):
        values = _values(table, metric)
        sites = len(next(iter(values.values()), ()))
        found = site_ranks(
            values,
            lower_is_better=metric.lower_is_better,
            level=1 - run.plan.evaluation.confidence,
        )
        if found is not None:
            charts.append(_chart(found, metric))
        elif len(values) > 1:
            reasons.append(f"{metric.title}: {sites}")
    needs = f"Ranks of models over sites need at least {LEAST_SITES} sites"
    return charts, [f"{needs}; there are fewer ({'; '.join(reasons)})."] if reasons else []


def _values(table: ScoreTable, metric: ReportedMetric) -> dict[str, list[float]]:
    """Model -> its value at each site that some model can be judged at."""
    cells = {
        model: {
            site: found.value
            for site in table.sites_with_labels(metric)
            if site not in JOINT and not table.never_seen(site)
            if (found := table.cell(model, site, metric)).judged
        }
        for model in table.models
    }
    sites = sorted({site for row in cells.values() for site in row})
    return {m: [row[site] for site in sites] for m, row in cells.items() if len(row) == len(sites)}


def _chart(found: SiteRanks, metric: ReportedMetric) -> Chart:
    with look():
        height = 0.9 + 0.24 * len(found.ranks)
        figure, (axis,) = panels(1, width=8.6, height=height)
        _draw(axis, found)
        p = "" if math.isnan(found.p) else f", Friedman's p {found.p:.3f}"
        title = f"{metric.title}: mean rank over {found.sites} sites{p}"
        axis.set_title(f"{title}, critical difference {found.critical:.2f}")
        ranks = ", ".join(f"{model_title(model)} {rank:.2f}" for model, rank in found.ranks.items())
        groups = "; ".join(" = ".join(map(model_title, group)) for group in found.groups)
        words = f"{title}: {ranks}. Not told apart: {groups or 'none'}"
        data = pd.DataFrame(found.ranks.items(), columns=["model", "mean_rank"])
        data = data.assign(sites=found.sites, critical_difference=found.critical, p=found.p)
        return chart(figure, words, f"ranks-{metric.task.value}-{metric.metric}", data)


def _draw(axis: Axes, found: SiteRanks) -> None:
    """A row a model, best on top, and a bar over each group that cannot be told apart."""
    rows = {model: len(found.ranks) - number for number, model in enumerate(found.ranks)}
    for model, rank in found.ranks.items():
        axis.plot((1, rank), (rows[model], rows[model]), color=GREY, linewidth=0.6)
        axis.plot(rank, rows[model], marker="o", color=BLUE, markersize=5, label=model_title(model))
    for number, group in enumerate(found.groups):
        ends = [found.ranks[group[0]], found.ranks[group[-1]]]
        height = -0.35 * number
        axis.plot(ends, (height, height), color=INK, linewidth=3, solid_capstyle="butt")
    axis.set_yticks(list(rows.values()), [model_title(model) for model in rows])
    axis.set(
        xlabel="mean rank (1 is best); bars join what is not told apart",
        xlim=(0.9, len(rows) + 0.1),
        ylim=(-0.35 * len(found.groups), len(rows) + 0.6),
    )
    axis.grid(axis="y", visible=False)
