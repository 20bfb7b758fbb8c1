"""What a run says, for a terminal."""

from collections.abc import Sequence

import pandas as pd
from rich.console import Console
from rich.table import Table

from echofm_core.evaluation.model_names import FEDERATED, model_title
from echofm_core.evaluation.reported import ReportedMetric
from echofm_core.evaluation.score import ALL_SITES
from echofm_core.evaluation.score_table import FEW, ScoreTable, site_order, site_title
from echofm_core.report.run_files import RunFiles
from echofm_core.report.words import words_of


def print_run(run: RunFiles, console: Console) -> None:
    """Print the tables of a run folder and their verdict, in the words of its page."""
    words, few = words_of(run), run.settings.evaluation.min_patients
    print_site_by_model(run.scores, console, run.site_names, few)
    for note in words.table_notes:
        console.print(f"note: {note}", markup=False)
    for line in words.sentences:
        console.print(f"- {line}", markup=False)
    for line in (*words.sure, *words.published):
        console.print(line, style="dim", markup=False)


def print_site_by_model(
    scores: pd.DataFrame, console: Console, sites: Sequence[str] = (), few: int = FEW
) -> None:
    """Print one table a metric: sites across, models down.

    Args:
        scores: Columns model, site, task, metric, value, low, high, patients.
        console: Where to.
        sites: Sites to name besides those with scores.
        few: Test patients below which a site is not judged.
    """
    table = ScoreTable(scores, few)
    if not table.metrics:
        console.print("no site has test labels for any task of the plan: nothing to compare.")
    for metric in table.metrics:
        _print_one(table, metric, console, site_order([*table.sites, *sites]))


def _print_one(
    scores: ScoreTable, metric: ReportedMetric, console: Console, sites: Sequence[str]
) -> None:
    shown = scores.sites_with_labels(metric)
    table = Table(title=metric.heading, title_justify="left")
    table.add_column("model", no_wrap=True)
    for site in shown:
        patients = scores.patients_at(site, metric)
        table.add_column(f"{site_title(site)} (n {patients})", justify="right")
    reasons: dict[str, None] = {}
    for model in scores.models:
        cells = [scores.cell(model, site, metric) for site in shown]
        table.add_row(model_title(model), *map(str, cells))
        for cell in cells:
            if cell.reason:
                reasons[f"{model_title(model)}: {cell.reason}"] = None
    for site in sites:
        if site not in (*shown, ALL_SITES):
            reasons[scores.cell(FEDERATED, site, metric).reason] = None
    console.print(table)
    if reasons:
        console.print(f"n/a: {'; '.join(reasons)}.", style="dim")
