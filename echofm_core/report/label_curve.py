"""Data efficiency: scores against the share of labels, where a study varies it.

A line a method and combination of the other varied keys. The table behind a picture has one row a
point, columns :data:`CURVE_COLUMNS`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from echofm_core.evaluation.model_names import FLOOR
from echofm_core.evaluation.reported import ReportedMetric, reported_metrics
from echofm_core.evaluation.score import ALL_SITES, JOINT, UNSEEN_SITES
from echofm_core.pages.chart import Chart, chart
from echofm_core.pages.style import line_style, look, panels
from echofm_core.report.study_table import StudyScores, title

#: Key whose values are drawn across.
KEY = "finetune.label_fraction"
#: ``low`` and ``high`` bound the mean over seeds, over patients; ``spread`` is between seeds.
CURVE_COLUMNS = (
    "task", "metric", "line", "test_set", "label_fraction", "value", "low", "high", "spread",
    "seeds", "patients",
)  # fmt: skip
TRAINED_TITLE, UNSEEN_TITLE = "sites that train", "sites never seen"

#: Of a protocol and variation its values by key, its share of labels, and its scores.
Part = tuple[Mapping[str, str], float, StudyScores]


def label_curve_rows(parts: Sequence[Part]) -> pd.DataFrame:
    """The points of a protocol's parts; empty where none of them differ in the share alone.

    Scores are of all test patients of the sites that train, and of all sites never seen; a model
    that was tested on fewer has no point. The share is that of a site's labelled training patients,
    in (0, 1].
    """
    rows = [row for part in parts for row in _rows(*part)]
    table = pd.DataFrame(rows, columns=list(CURVE_COLUMNS))
    several = table.groupby("line")["label_fraction"].transform("nunique") > 1
    order = {line: number for number, line in enumerate(dict.fromkeys(table["line"]))}
    keep = table.assign(_line=table["line"].map(order))[several]
    keys = ["task", "metric", "_line", "test_set", "label_fraction"]
    return keep.sort_values(keys, kind="stable")[list(CURVE_COLUMNS)].reset_index(drop=True)


def label_curves(table: pd.DataFrame, confidence: float, prefix: str = "") -> list[Chart]:
    """A picture a headline metric: a panel for sites that train and one for sites never seen.

    Args:
        table: Of :func:`label_curve_rows`; of an empty one there are no pictures.
        confidence: Coverage of the intervals, in (0, 1).
        prefix: Of the names of the files of data.
    """
    doubt = curve_doubt(table, confidence)
    metrics = [metric for metric in reported_metrics(table) if metric.verdict]
    return [_chart(curve_data(table, metric), metric, doubt, prefix) for metric in metrics]


def curve_name(metric: ReportedMetric) -> str:
    """File name of the data of a picture, without ending."""
    return f"label-fraction-{metric.task.value}-{metric.metric}"


def curve_doubt(table: pd.DataFrame, confidence: float) -> str:
    """What the shaded bands are."""
    if table["low"].notna().any():
        seeds = ", of the mean over seeds" if (table["seeds"] > 1).any() else ""
        return f"Shaded: {confidence:.0%} intervals over test patients{seeds}."
    if table["spread"].notna().any():
        return "Shaded: one standard deviation between seeds on either side of their mean."
    return "No interval is known."


def curve_data(table: pd.DataFrame, metric: ReportedMetric) -> pd.DataFrame:
    """The points of one metric."""
    own = (table["task"] == metric.task.value) & (table["metric"] == metric.metric)
    return table[own].reset_index(drop=True)


def _rows(
    variation: Mapping[str, str], share: float, study: StudyScores
) -> list[tuple[object, ...]]:
    scores, others = study.scores, _others(variation)
    methods = study.methods[["model", "method"]].itertuples(index=False, name=None)
    rows: list[tuple[object, ...]] = []
    # Of any model: one that was not tested at each site is not beside those that were.
    most = {
        never: pd.concat(_of_kind(scores, study.unseen, never=never))
        .groupby("task")["patients"]
        .max()
        for never in (False, True)
    }
    for model, method in (*methods, (FLOOR, FLOOR)):
        line = ", ".join([title(method), *others])
        mine = scores[scores["model"] == model]
        for never, name in ((False, TRAINED_TITLE), (True, UNSEEN_TITLE)):
            there = _joint(mine, study.unseen, never=never)
            rows += [
                (
                    *(row["task"], row["metric"], line, name, share, row["value"], row["low"]),
                    *(row["high"], row.get("spread", math.nan), row.get("seeds", 1)),
                    row["patients"],
                )
                for row in there.to_dict("records")
                if row["patients"] == most[never][row["task"]]
            ]
    return rows


def _joint(scores: pd.DataFrame, unseen: Sequence[str], *, never: bool) -> pd.DataFrame:
    """Rows of all sites of a kind together; of the one site where there are not several."""
    whole, alone = _of_kind(scores, unseen, never=never)
    keys = ["task", "metric"]
    alone = alone[~alone.duplicated(keys, keep=False)]
    return pd.concat([whole, alone]).drop_duplicates(keys)


def _of_kind(
    scores: pd.DataFrame, unseen: Sequence[str], *, never: bool
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of sites that train, or that are never seen: of all together, and of each."""
    whole = scores[scores["site"] == (UNSEEN_SITES if never else ALL_SITES)]
    each = ~scores["site"].isin(JOINT) & (scores["site"].isin(unseen) == never)
    return whole, scores[each]


def _others(variation: Mapping[str, str]) -> list[str]:
    """Varied values beside the share of labels, in words."""
    found = []
    for key, word in variation.items():
        if key == KEY:
            continue
        if key == KEY.partition(".")[0]:  # a table of keys
            parts = [one for one in word.split(", ") if not one.startswith("label_fraction ")]
            word = ", ".join(one for one in parts if one != "as it is")
        if word:
            found.append(f"{key} = {word}")
    return found


def _chart(table: pd.DataFrame, metric: ReportedMetric, doubt: str, prefix: str) -> Chart:
    sets = [name for name in (TRAINED_TITLE, UNSEEN_TITLE) if (table["test_set"] == name).any()]
    lines = list(dict.fromkeys(table["line"]))
    with look():
        height = 3.4 + 0.16 * len(lines)
        figure, axes = panels(len(sets), width=5.3 * len(sets), height=height)
        for axis, name in zip(axes, sets, strict=True):
            for number, line in enumerate(lines):
                _line(axis, table[(table["test_set"] == name) & (table["line"] == line)], number)
            shares = sorted(table["label_fraction"].unique())
            axis.set(title=f"{metric.title}, {name}", xscale="log")
            axis.set(xlabel="labelled training patients used (%)", ylabel=metric.title)
            axis.xaxis.set_major_locator(FixedLocator([100 * share for share in shares]))
            axis.xaxis.set_major_formatter(FixedFormatter([f"{100 * s:g}" for s in shares]))
            axis.xaxis.set_minor_locator(NullLocator())
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower left", ncols=1 + (len(lines) > 4))
        words = f"{metric.heading}, by the share of labels. {doubt} "
        return chart(figure, words + _ends(table), f"{prefix}{curve_name(metric)}", table)


def _line(axis: Axes, rows: pd.DataFrame, number: int) -> None:
    """Points of one line with what is shaded: the interval, or the spread where there is none."""
    style, share = line_style(number), 100 * rows["label_fraction"]
    axis.plot(
        share, rows["value"], marker="o", markersize=4,
        label=str(rows["line"].iloc[0]) if len(rows) else "_none", **style,
    )  # fmt: skip
    low = rows["low"].fillna(rows["value"] - rows["spread"])
    high = rows["high"].fillna(rows["value"] + rows["spread"])
    axis.fill_between(share, low, high, color=style["color"], alpha=0.12, linewidth=0)


def _ends(table: pd.DataFrame) -> str:
    """First and last value of each line, for who cannot see it."""
    found = []
    for (name, line), rows in table.groupby(["test_set", "line"], sort=False):
        first, last = rows.iloc[0], rows.iloc[-1]
        found.append(
            f"{line} at {name}: {first['value']:.3g} with {100 * first['label_fraction']:g} % of "
            f"the labels, {last['value']:.3g} with {100 * last['label_fraction']:g} %"
        )
    return "; ".join(found) + "."
