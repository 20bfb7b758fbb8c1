"""Models compared on the same patients: the one table that every verdict is read from."""

from collections.abc import Iterator, Mapping
from enum import StrEnum

import numpy as np
import pandas as pd

from echofm_core.evaluation.compare import compare
from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.evaluation.model_names import FEDERATED, FLOOR, LOCAL, model_order
from echofm_core.evaluation.ranking import Floats
from echofm_core.evaluation.reported import REPORTED, reported_metric
from echofm_core.evaluation.score import ALL_SITES
from echofm_core.runtime.randomness import stream

#: Columns of ``paired.parquet``: ``value`` is the first model's metric minus the rival's.
PAIRED_COLUMNS = (
    "model", "rival", "site", "task", "metric", "value", "low", "high", "patients", "p",
    "comparisons", "p_holm", "finding",
)  # fmt: skip


class Finding(StrEnum):
    """What a comparison says of the first model."""

    BETTER = "better"
    WORSE = "worse"
    EQUAL = "equal"
    UNCLEAR = "cannot be told apart"


def paired_table(
    predictions: Mapping[str, pd.DataFrame], config: EvaluationConfig, seed: int, threshold: float
) -> pd.DataFrame:
    """Every comparison of a run.

    Two questions are asked of each reported metric: how the federated model does against each
    other one, and whether each network beats what needs none (a site alone: at that site). The
    comparisons of one question and one metric are a family, over all its sites and rivals, and
    Holm's correction holds for it; that also pays for picking the best single site afterwards.
    Sites with fewer than ``config.min_patients`` shared test patients take no part.

    Args:
        predictions: Model name -> rows of :func:`echofm_core.training.predict.predict`.
        config: Resamples, level, and the least number of patients.
        seed: The plan's.
        threshold: EF in percent below which it is reduced.

    Returns:
        Columns :data:`PAIRED_COLUMNS`. ``p`` is of one comparison, ``p_holm`` of all
        ``comparisons`` of its family; ``finding`` is at the level of ``p_holm``.
    """
    wanted = {item.task.value for item in REPORTED}
    rows = {name: table[table["task"].isin(wanted)] for name, table in predictions.items()}
    parts = [pd.DataFrame(columns=list(PAIRED_COLUMNS))]
    for model, rival in _pairs(rows):
        rng = stream(seed, "", 0, "bootstrap.paired")
        table = compare(rows[model], rows[rival], config, rng, threshold)
        table = table[_whole(table, rows[model])].assign(model=model, rival=rival)
        if model.startswith(LOCAL):
            table = table[table["site"] == model.removeprefix(LOCAL)]
        parts.append(table)
    return judged(pd.concat([part for part in parts if len(part)] or parts), config)


def _pairs(predictions: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, str]]:
    """The federation against each other model, then the other networks against the floor."""
    names = model_order(predictions)
    if FEDERATED in names:
        yield from ((FEDERATED, rival) for rival in names if rival != FEDERATED)
    if FLOOR in names:
        yield from ((model, FLOOR) for model in names if model not in (FEDERATED, FLOOR))


def judged(table: pd.DataFrame, config: EvaluationConfig) -> pd.DataFrame:
    """Comparisons of reported metrics on enough patients, after Holm's correction.

    For a run between hospitals, from comparisons that each site made at home.

    Args:
        table: Columns model, rival, site, task, metric, value, low, high, patients, p.
        config: Level, and the least number of patients.

    Returns:
        As :func:`paired_table`.
    """
    items = [reported_metric(*pair) for pair in zip(table["task"], table["metric"], strict=True)]
    reported = pd.Series([item is not None for item in items], index=table.index, dtype=bool)
    table = table[reported & table["p"].notna() & (table["patients"] >= config.min_patients)]
    parts = []
    for _, family in table.groupby(["task", "metric", table["rival"] == FLOOR], sort=False):
        corrected = holm(family["p"].to_numpy(dtype=np.float64))
        parts.append(family.assign(p_holm=corrected, comparisons=len(family)))
    if not parts:
        return pd.DataFrame(columns=list(PAIRED_COLUMNS))
    whole = pd.concat(parts)
    findings = [_finding(row, config) for _, row in whole.iterrows()]
    return whole.assign(finding=findings)[list(PAIRED_COLUMNS)].reset_index(drop=True)


def holm(p: Floats) -> Floats:
    """Adjusted p-values: rejecting those below alpha errs with probability alpha at most, in all.

    The k-th smallest of m is multiplied by m - k + 1; none may fall below a smaller one's.

    Args:
        p: (M,) of the comparisons of one family, in [0, 1].

    Returns:
        (M,) in the same order, at most 1.

    Source: Holm, Scandinavian Journal of Statistics 1979, 6, 65-70.
    """
    order = np.argsort(p, kind="stable")
    steps = (len(p) - np.arange(len(p))) * p[order]
    adjusted = np.empty_like(p, dtype=np.float64)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def _whole(table: pd.DataFrame, ours: pd.DataFrame) -> pd.Series:
    """Rows of one site, and of all sites where there are several and the rival was at each."""
    tested = ours[ours["truth"].notna()].groupby("task")["site"].nunique()
    shared = table[table["site"] != ALL_SITES].groupby("task")["site"].nunique()
    several = (shared > 1) & (shared == tested.reindex(shared.index))
    return (table["site"] != ALL_SITES) | table["task"].map(several).fillna(False).astype(bool)


def _finding(row: pd.Series, config: EvaluationConfig) -> str:
    if row["value"] == row["low"] == row["high"] == 0:
        return Finding.EQUAL.value
    if row["p_holm"] >= 1 - config.confidence:
        return Finding.UNCLEAR.value
    item = reported_metric(row["task"], row["metric"])
    better = item is not None and item.better(row["value"], 0)
    return (Finding.BETTER if better else Finding.WORSE).value
