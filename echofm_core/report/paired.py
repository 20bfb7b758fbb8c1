"""Federated against each other model on the same patients: differences with paired intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.evaluation.headline import HEADLINES, Headline
from echofm_core.evaluation.model_names import FEDERATED, model_order, model_title
from echofm_core.evaluation.score import ALL_SITES, compare
from echofm_core.plan import Plan
from echofm_core.randomness import stream


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Federated minus another model in one headline metric at one site.

    Attributes:
        metric: Title of the metric.
        site: Site, or ``all sites``.
        rival: Title of the other model.
        value: ``-1.2 [-2.0, -0.4]``.
        verdict: ``better``, ``worse`` or ``unclear`` (the interval holds zero).
    """

    metric: str
    site: str
    rival: str
    value: str
    verdict: str


def paired_differences(predictions: Mapping[str, pd.DataFrame], plan: Plan) -> list[Difference]:
    """All headline differences of the federated model; empty without its predictions."""
    if FEDERATED not in predictions:
        return []
    wanted = {item.task.value for item in HEADLINES}
    ours = _of(predictions[FEDERATED], wanted)
    found = []
    for rival in model_order(predictions):
        if rival != FEDERATED:
            table = _compare(ours, _of(predictions[rival], wanted), plan.evaluation, plan)
            found += [_difference(row, rival) for _, row in table.iterrows() if _item(row)]
    order = [item.title for item in HEADLINES]
    return sorted(found, key=lambda item: (order.index(item.metric), item.site == "all sites"))


def _of(predictions: pd.DataFrame, tasks: set[str]) -> pd.DataFrame:
    return predictions[predictions["task"].isin(tasks)]


def _compare(
    ours: pd.DataFrame, theirs: pd.DataFrame, config: EvaluationConfig, plan: Plan
) -> pd.DataFrame:
    rng = stream(plan.seed, "", 0, "bootstrap.paired")
    table = compare(ours, theirs, config, rng, plan.finetune.reduced_ef_threshold)
    sites = table.groupby("task")["site"].transform("nunique")
    adds = (table["site"] != ALL_SITES) | (sites > 2)  # pooled repeats a single site
    return table.loc[adds & table["low"].notna()]


def _item(row: pd.Series) -> Headline | None:
    return next(
        (h for h in HEADLINES if (h.task.value, h.metric) == (row["task"], row["metric"])), None
    )


def _difference(row: pd.Series, rival: str) -> Difference:
    item = _item(row)
    assert item is not None  # the caller kept headline rows only
    low, high = float(row["low"]), float(row["high"])
    verdict = "unclear"
    if low > 0 or high < 0:
        verdict = "better" if item.better(low, 0) else "worse"
    value, lower, upper = (f"{x:+z.{item.digits}f}" for x in (float(row["value"]), low, high))
    return Difference(
        metric=item.title,
        site="all sites" if row["site"] == ALL_SITES else str(row["site"]),
        rival=model_title(rival),
        value=f"{value} [{lower}, {upper}]",
        verdict=verdict,
    )
