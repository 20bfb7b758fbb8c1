"""What the threshold of reduced EF finds and misses, and which class is taken for which."""

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd

from echofm_core.evaluation.metrics import DECISION
from echofm_core.evaluation.model_names import FEDERATED, model_title
from echofm_core.evaluation.score import Cases
from echofm_core.evaluation.score_table import TOO_FEW, at, site_order
from echofm_core.evaluation.strata import shown_models, whole_first
from echofm_core.tasks import CLASS_NAMES, Task


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Sensitivity and specificity of one model at one site, or over all of them, in words."""

    model: str
    site: str
    sensitivity: str
    """With its interval; likewise the specificity."""
    specificity: str
    patients: str
    """Test patients, and the percentage of them with a reduced EF."""


def decisions(scores: pd.DataFrame, few: int, unseen: Collection[str] = ()) -> list[Decision]:
    """Decisions of the federated and the leave-one-out model, over all sites first.

    Args:
        scores: Columns model, site, task, metric, value, low, high, patients.
        few: Patients below which nothing is judged.
        unseen: Sites that no model trained on.
    """
    rows = scores[scores["task"] == Task.REDUCED_EF.value]
    return [
        _decision(mine[mine["site"] == site], model, site, few)
        for model in shown_models(rows["model"])
        for mine in [rows[rows["model"] == model]]
        for site in whole_first(site_order(mine["site"], unseen))
    ]


def decision_lines(found: list[Decision], threshold: float) -> list[str]:
    """One sentence a model; ``threshold`` is the EF in percent below which it is reduced."""
    lines = []
    for model in dict.fromkeys(one.model for one in found):
        text = "; ".join(
            f"{at(one.site)} sensitivity {one.sensitivity}, specificity {one.specificity} "
            f"({one.patients})"
            for one in found
            if one.model == model
        )
        lines.append(f"EF below {threshold:g} %, {model_title(model)}: {text}.")
    return lines


def _decision(rows: pd.DataFrame, model: str, site: str, few: int) -> Decision:
    patients = int(rows["patients"].max())
    scarce = f", {TOO_FEW}" if patients < few else ""
    reduced = float(rows.loc[rows["metric"] == "prevalence", "value"].iloc[0])
    return Decision(
        model=model,
        site=site,
        sensitivity=_value(rows, "sensitivity", interval=not scarce),
        specificity=_value(rows, "specificity", interval=not scarce),
        patients=f"n {patients}, {reduced:.0%} reduced{scarce}",
    )


def _value(rows: pd.DataFrame, metric: str, *, interval: bool) -> str:
    row = rows[rows["metric"] == metric].iloc[0]
    value, low, high = (float(row[end]) for end in ("value", "low", "high"))
    if math.isnan(value):
        return "undefined"
    return f"{value:.2f} [{low:.2f}, {high:.2f}]" if interval and low == low else f"{value:.2f}"


def published_convention(scores: pd.DataFrame) -> list[str]:
    """Reduced EF of the federated model as the published tables count it, beside the baseline.

    There, positive means a normal EF, so that saying "normal" to everybody already scores well
    (reference: Echo-Vision-FM, abstract; released code).
    """
    rows = scores[(scores["task"] == "reduced_ef") & (scores["model"] == FEDERATED)]
    lines = []
    for site in site_order(rows["site"]):
        of_site = rows[rows["site"] == site].set_index("metric")["value"]
        names = ("accuracy", "f1_negative", "all_negative_accuracy", "all_negative_f1")
        accuracy, f1, baseline, baseline_f1 = (of_site.get(name, math.nan) for name in names)
        lines.append(
            f"published convention (positive = normal EF), {site}: accuracy {accuracy:.2f}, "
            f"F1 {f1:.2f}; calling everybody normal: accuracy {baseline:.2f}, F1 {baseline_f1:.2f}."
        )
    return lines


@dataclass(frozen=True, kw_only=True, slots=True)
class Confusion:
    """Counts of studies (for ``view``: of clips), a row a true class, a column a predicted one."""

    classes: tuple[str, ...]
    """Names, of rows and columns alike; those that occur on neither side are left out."""
    counts: tuple[tuple[int, ...], ...]


def confusion(cases: Cases, task: Task) -> Confusion | None:
    """The matrix of a task with classes; None where a prediction is not a number, or no case is.

    The predicted class is the most probable one; with two, the positive one from a probability of
    :data:`~echofm_core.evaluation.metrics.DECISION` on.

    Raises:
        KeyError: The task has no classes.
    """
    names = CLASS_NAMES[task]
    if not len(cases.truth) or not np.isfinite(cases.prediction).all():
        return None
    binary = cases.prediction.ndim == 1
    predicted = cases.prediction >= DECISION if binary else cases.prediction.argmax(axis=1)
    edges = np.arange(len(names) + 1)
    table = np.histogram2d(cases.truth, predicted.astype(np.int64), bins=(edges, edges))[0]
    kept = np.flatnonzero(table.sum(axis=0) + table.sum(axis=1))
    return Confusion(
        classes=tuple(names[index].replace("_", " ") for index in kept),
        counts=tuple(tuple(map(int, table[row, kept])) for row in kept),
    )
