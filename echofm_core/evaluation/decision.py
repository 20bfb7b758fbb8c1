"""What the threshold of reduced EF finds and misses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from echofm_core.evaluation.cells import TOO_FEW, at, site_order
from echofm_core.evaluation.danger import watched, whole_first
from echofm_core.evaluation.model_names import model_title
from echofm_core.tasks import Task


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Sensitivity and specificity of one model at one site, or over all of them.

    Attributes:
        model, site: Of which model, where.
        sensitivity, specificity: With their intervals, in words.
        patients: Test patients, and how many of a hundred have a reduced EF, in words.
    """

    model: str
    site: str
    sensitivity: str
    specificity: str
    patients: str


def decisions(scores: pd.DataFrame, few: int) -> list[Decision]:
    """Decisions of the federated and the unseen-site model, over all sites first.

    Args:
        scores: Columns model, site, task, metric, value, low, high, patients.
        few: Patients below which nothing is judged.
    """
    rows = scores[scores["task"] == Task.REDUCED_EF.value]
    found = []
    for model in watched(rows["model"]):
        mine = rows[rows["model"] == model]
        for site in whole_first(site_order(mine)):
            found.append(_decision(mine[mine["site"] == site], model, site, few))
    return found


def decision_lines(found: list[Decision], threshold: float) -> list[str]:
    """One sentence a model.

    Args:
        found: From :func:`decisions`.
        threshold: EF in percent below which it is reduced.
    """
    lines = []
    for model in dict.fromkeys(one.model for one in found):
        said = "; ".join(
            f"{at(one.site)} sensitivity {one.sensitivity}, specificity {one.specificity} "
            f"({one.patients})"
            for one in found
            if one.model == model
        )
        lines.append(f"EF below {threshold:g} %, {model_title(model)}: {said}.")
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
