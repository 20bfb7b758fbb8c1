"""The tables of a run or study as files: CSV, LaTeX or Markdown; and the data of every figure."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from echofm_core.evaluation.model_names import model_title
from echofm_core.evaluation.reported import reported_metrics
from echofm_core.evaluation.score_table import ScoreTable
from echofm_core.pages.grid import Grid
from echofm_core.report.calibration import calibration_points
from echofm_core.report.few_shot import read_few_shot
from echofm_core.report.formats import TableFormat
from echofm_core.report.label_curve import curve_data, curve_name
from echofm_core.report.points import agreement_points, loss_rows, roc_points
from echofm_core.report.published import source_lines
from echofm_core.report.run_files import RunFiles
from echofm_core.report.stress import read_stress
from echofm_core.report.study_page import is_study, label_tables, overviews, read_parts
from echofm_core.report.traffic import traffic
from echofm_core.runtime.files import write_whole


def write_tables(run: RunFiles, out: Path, form: TableFormat) -> list[Path]:
    """Write every table of a run, and of a study its table of methods.

    Args:
        run: Files of a run folder, or of a study's.
        out: Folder; made where it is missing.
        form: Of the files.

    Returns:
        The files. Figures are data, and are CSV whatever the format.
    """
    tables = {**site_by_model(run), **_long_tables(run), **_study_tables(run.folder)}
    written = []
    for name, table in tables.items():
        path = out / f"{name}.{form.ending}"
        write_whole(path, rendered(table, form, caption=name.replace("-", " ")).encode())
        written.append(path)
    for name, table in {**figure_data(run), **_label_curves(run.folder)}.items():
        path = out / "figures" / f"{name}.csv"
        write_whole(path, table.to_csv(index=False).encode())
        written.append(path)
    return written


def rendered(table: pd.DataFrame, form: TableFormat, *, caption: str) -> str:
    """A frame as text; its index is no column. LaTeX needs the package booktabs."""
    match form:
        case TableFormat.CSV:
            return table.to_csv(index=False)
        case TableFormat.LATEX:
            plain = table.map(str).rename(columns=lambda name: _latex(str(name)))
            style = plain.style.hide(axis="index").format(escape="latex")
            numbers = "l" + "r" * (len(table.columns) - 1)
            return str(style.to_latex(hrules=True, column_format=numbers, caption=_latex(caption)))
        case TableFormat.MARKDOWN:
            return pipe_table(table) + "\n"


def pipe_table(table: pd.DataFrame) -> str:
    """A table of Markdown; pandas' own needs another package."""
    rows = [tuple(map(str, table.columns)), *table.map(str).itertuples(index=False, name=None)]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(table.columns), *lines[1:]])


def site_by_model(run: RunFiles) -> dict[str, pd.DataFrame]:
    """``sites-TASK-METRIC``: models down, sites across, values with intervals."""
    scores = ScoreTable(run.scores, run.plan.evaluation.min_patients, run.unseen)
    found = {}
    for metric in scores.metrics:
        sites = scores.sites_with_labels(metric)
        rows = [
            [model_title(model), *(str(scores.cell(model, site, metric)) for site in sites)]
            for model in scores.models
        ]
        columns = ["model", *map(scores.title, sites)]
        found[f"sites-{metric.task.value}-{metric.metric}"] = pd.DataFrame(rows, columns=columns)
    return found


def _long_tables(run: RunFiles) -> dict[str, pd.DataFrame]:
    tables = {"scores": run.scores, "comparisons": run.paired, "labels-by-site": run.sites}
    tables["stress"] = read_stress(run.folder)
    return {name: table for name, table in tables.items() if len(table)}


def _study_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Of a study its tables of methods, as its page has them, and with every number."""
    if not is_study(folder):
        return {}
    found: dict[str, pd.DataFrame] = {}
    parts = read_parts(folder)
    for name, tables in overviews(parts).items():
        prefix = f"{name}-" if len({part.protocol for part in parts}) > 1 else ""
        for metric, grid in tables.items():
            found[f"{prefix}varied-{metric.task.value}-{metric.metric}"] = frame(grid)
    for part in parts:
        prefix = f"{part.place.replace('/', '-')}-" if len(parts) > 1 else ""
        found[f"{prefix}methods"] = part.study.methods
        found[f"{prefix}study"] = part.table
        if len(part.tuning):
            found[f"{prefix}tuning"] = part.tuning
        if part.published:
            found[f"{prefix}published"] = frame(part.published)
            sources = source_lines(part.run.plan.study.published)
            found[f"{prefix}published-by"] = pd.DataFrame({"published by": sources})
        for metric, grid in part.grids.items():
            found[f"{prefix}methods-{metric.task.value}-{metric.metric}"] = frame(grid)
    return found


def _label_curves(folder: Path) -> dict[str, pd.DataFrame]:
    """Of a study that varies the share of labels, the points of each metric."""
    parts = read_parts(folder) if is_study(folder) else []
    several = len({part.protocol for part in parts}) > 1
    return {
        f"{name}-" * several + curve_name(metric): curve_data(table, metric)
        for name, table in label_tables(parts).items()
        for metric in reported_metrics(table)
    }


def frame(grid: Grid) -> pd.DataFrame:
    """A printable grid as a frame of text."""
    return pd.DataFrame(list(grid.rows), columns=list(grid.columns))


def figure_data(run: RunFiles) -> dict[str, pd.DataFrame]:
    """What the figures of a report are drawn from, by name; of a figure that there is not, none."""
    rows = traffic(run.metrics)
    found = {
        "training-curves": loss_rows(run.metrics),
        "traffic": pd.DataFrame() if rows is None else frame(rows),
        "agreement-ef": agreement_points(run.predictions),
        "roc-reduced-ef": roc_points(run.predictions),
        "calibration-reduced-ef": calibration_points(run),
        "few-shot": read_few_shot(run.folder),
    }
    return {name: table for name, table in found.items() if len(table)}


def _latex(text: str) -> str:
    """Text with LaTeX's own characters escaped; the superscript two of R² is one of them."""
    for char in ("\\", "&", "%", "$", "#", "_", "{", "}"):
        text = text.replace(char, {"\\": r"\textbackslash "}.get(char, f"\\{char}"))
    return text.replace("²", "$^2$")
