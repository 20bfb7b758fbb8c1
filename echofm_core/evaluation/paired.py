"""Models compared on the same patients: the one table that every verdict is read from."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import StrEnum
from functools import partial

import numpy as np
import pandas as pd

from echofm_core.evaluation.across_sites import mean_difference, worst_difference
from echofm_core.evaluation.bootstrap import Difference, PairedDraws, difference, paired_draws
from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.evaluation.holm import holm
from echofm_core.evaluation.metrics import task_metrics
from echofm_core.evaluation.model_names import FEDERATED, FLOOR, LOCAL, model_order
from echofm_core.evaluation.reported import REPORTED, reported_metric
from echofm_core.evaluation.same_predictions import tested_pairs
from echofm_core.evaluation.score import (
    COLUMNS,
    JOINT,
    MEAN_OF_SITES,
    MEAN_UNSEEN,
    MEANS,
    WORST,
    WORST_SITE,
    WORST_UNSEEN,
    labelled_tasks,
    study_cases,
    test_sets,
)
from echofm_core.runtime.randomness import stream
from echofm_core.tasks import Task

#: Columns of ``paired.parquet``: ``value`` is the first model's metric minus the rival's.
PAIRED_COLUMNS = (
    "model", "rival", "site", "task", "metric", "value", "low", "high", "patients", "p",
    "comparisons", "p_holm", "finding",
)  # fmt: skip
#: And whether it is a test of its own: not where it repeats one under another name, nor where both
#: models predict alike. Tables of older runs, which counted every row, lack it.
COUNTED = "counted"

#: Names of the comparisons over several sites; whether these are sites that no model trained on.
OVER_SITES = (((MEAN_OF_SITES, WORST_SITE), False), ((MEAN_UNSEEN, WORST_UNSEEN), True))


class Finding(StrEnum):
    """What a comparison says of the first model."""

    BETTER = "better"
    WORSE = "worse"
    MEAN_ONLY = "better but for the worst site"
    """In the mean over sites, while the worst site is worse."""
    EQUAL = "equal"
    UNCLEAR = "cannot be told apart"


def compare(
    first: pd.DataFrame,
    second: pd.DataFrame,
    config: EvaluationConfig,
    rng: np.random.Generator,
    threshold: float,
    unseen: Collection[str] = (),
) -> pd.DataFrame:
    """First model minus second, on the cases that both predicted, with paired intervals.

    Args:
        first: Rows of :func:`echofm_core.training.predict.predict` of one model.
        second: Those of the other; in any order, and not necessarily of the same clips.
        config: Resamples and coverage.
        rng: Draws the patients.
        threshold: EF in percent below which it is reduced.
        unseen: Sites that no model trained on.

    Returns:
        As :func:`echofm_core.evaluation.score.score`, with ``p``; ``value`` is the difference,
        and ``patients`` are those that both predicted. In place of all patients together there are
        the mean over sites and the worst site (:mod:`echofm_core.evaluation.across_sites`), for
        reported metrics, over the sites with enough patients where there are two of them.

    Raises:
        ValueError: The two disagree about the truth of a case.
    """
    key = int(rng.integers(2**63))
    first, second = shared_clips(first, second)
    rows: list[list[object]] = []
    for task, ours in labelled_tasks(first):
        theirs = study_cases(second, task)
        same = ours.table.equals(theirs.table)
        if not (same and np.allclose(ours.truth, theirs.truth, rtol=1e-5, atol=0)):
            raise ValueError(f"the predictions of two models disagree about the true {task.value}.")
        rivals, draws = test_sets(theirs, unseen), dict[str, dict[str, PairedDraws]]()
        for site, one in test_sets(ours, unseen).items():
            if site in JOINT:
                continue
            draws[site] = paired_draws(
                partial(task_metrics, task, one.truth, one.prediction, threshold=threshold),
                partial(
                    task_metrics, task, one.truth, rivals[site].prediction, threshold=threshold
                ),
                one.patients,
                config,
                stream(key, site, 0, f"paired.{task}"),
            )
            rows += [
                paired_row(site, task, metric, difference(found, config), one.patient_count)
                for metric, found in draws[site].items()
            ]
        for names, never in OVER_SITES:
            there = [found for site, found in draws.items() if (site in unseen) is never]
            rows += across_sites(there, task, names, config)
    return pd.DataFrame(rows, columns=[*COLUMNS, "p"])


def paired_row(
    site: str, task: Task, metric: str, found: Difference, patients: int
) -> list[object]:
    """A row of :func:`compare`."""
    return [site, task.value, metric, *found[:3], patients, found.p]


def across_sites(
    sites: list[dict[str, PairedDraws]],
    task: Task,
    names: tuple[str, str],
    config: EvaluationConfig,
) -> Iterator[list[object]]:
    """Rows of the mean and of the worst site, of metrics that two sites or more can be judged by.

    A site where a metric is undefined for both models counts for neither; where it is for one of
    them, the other has nothing to be compared with, and there are no rows.
    """
    for item in (item for item in REPORTED if item.task is task):
        enough = [x[item.metric] for x in sites if x[item.metric].patients >= config.min_patients]
        defined = [x for x in enough if np.isfinite(x.values).all()]
        if len(defined) < 2 or any(np.isfinite(x.values).sum() == 1 for x in enough):
            continue
        worst = worst_difference(defined, config, lower_is_better=item.lower_is_better)
        patients = sum(x.patients for x in defined)
        yield paired_row(names[0], task, item.metric, mean_difference(defined, config), patients)
        yield paired_row(names[1], task, item.metric, worst, patients)


def shared_clips(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of both tables whose clip and task have a truth in both, whatever their order."""
    clip = ["dataset", "site", "clip_id", "task"]
    here, there = (
        table.loc[table["truth"].notna(), clip].drop_duplicates() for table in (first, second)
    )
    both = here.merge(there)
    return first.merge(both), second.merge(both)


def paired_table(
    predictions: Mapping[str, pd.DataFrame],
    config: EvaluationConfig,
    seed: int,
    threshold: float,
    unseen: Collection[str] = (),
) -> pd.DataFrame:
    """Every comparison of a run.

    Two questions are asked of each reported metric: how the federated model does against each
    other one, and whether each network beats what needs none (a site alone: at that site). The
    comparisons of one question and one metric are a family, over all its sites and rivals, and
    Holm's correction holds for it; that also pays for picking the best single site afterwards.
    A comparison that stands there under several names, since models predict alike, counts once; one
    of models that predict alike is no test, and counts for none. A comparison at the worst site is
    no claim but a condition on that of the mean: it belongs to no family, and the level is its own.
    Sites with fewer than ``config.min_patients`` shared test
    patients take no part.

    Args:
        predictions: Model name -> rows of :func:`echofm_core.training.predict.predict`.
        config: Resamples, level, and the least number of patients.
        seed: Draws the patients.
        threshold: EF in percent below which it is reduced.
        unseen: Sites that no model trained on; mean and worst are taken over them apart.

    Returns:
        Columns :data:`PAIRED_COLUMNS` and :data:`COUNTED`. ``p`` is of one comparison, ``p_holm``
        of all ``comparisons`` of its family, each counted once; ``finding`` is at the level of
        ``p_holm``.
    """
    wanted = {item.task.value for item in REPORTED}
    rows = {name: table[table["task"].isin(wanted)] for name, table in predictions.items()}
    parts = [pd.DataFrame(columns=list(PAIRED_COLUMNS))]
    for model, rival in pairs(rows):
        rng = stream(seed, "", 0, "bootstrap.paired")
        table = compare(rows[model], rows[rival], config, rng, threshold, unseen)
        table = table[whole_sets(table, rows[model], unseen)].assign(model=model, rival=rival)
        if model.startswith(LOCAL):
            table = table[table["site"] == model.removeprefix(LOCAL)]
        parts.append(table)
    table = pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)
    seeds = {name: [part] for name, part in rows.items()}
    return judged(table.assign(tested=tested_pairs(table, seeds, unseen)), config)


def pairs(models: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The federation against each other model, then the other networks against the floor."""
    names = model_order(models)
    if FEDERATED in names:
        yield from ((FEDERATED, rival) for rival in names if rival != FEDERATED)
    if FLOOR in names:
        yield from ((model, FLOOR) for model in names if model not in (FEDERATED, FLOOR))


def judged(table: pd.DataFrame, config: EvaluationConfig) -> pd.DataFrame:
    """Comparisons of reported metrics on enough patients, after Holm's correction.

    For a run between hospitals, from comparisons that each site made at home: columns model, rival,
    site, task, metric, value, low, high, patients, p. Returns what :func:`paired_table` does. Where
    there is a column ``tested`` (:func:`echofm_core.evaluation.same_predictions.tested_pairs`),
    comparisons of a site that are alike in it are one; without it, all differ.
    """
    if "tested" not in table:
        table = table.assign(tested=table["model"] + " " + table["rival"])
    reported = [
        reported_metric(*pair) is not None
        for pair in zip(table["task"], table["metric"], strict=True)
    ]
    table = table[np.array(reported, dtype=bool) & table["p"].notna()]
    table = table[table["patients"] >= config.min_patients]
    worst, claims = (table[table["site"].isin(WORST) == kind] for kind in (True, False))
    keys = ["task", "metric", claims["rival"] == FLOOR]
    parts = [_corrected(family) for _, family in claims.groupby(keys, sort=False)]
    if not parts:
        return pd.DataFrame(columns=[*PAIRED_COLUMNS, COUNTED])
    alone = worst.assign(p_holm=worst["p"].to_numpy(float), comparisons=1, counted=True)
    whole = pd.concat([*parts, alone])
    findings = [_finding(row, config) for _, row in whole.iterrows()]
    whole = whole.assign(finding=findings)[[*PAIRED_COLUMNS, COUNTED]].reset_index(drop=True)
    return whole.assign(finding=_held_to_the_worst(whole))


def _corrected(family: pd.DataFrame) -> pd.DataFrame:
    """``p_holm`` over the different comparisons of a family; 1 where nothing is compared."""
    test = ["site", "tested"]
    counted = (family["tested"] != "") & ~family.duplicated(test)
    once = family[counted]
    adjusted = once[test].assign(p_holm=holm(once["p"].to_numpy(float)))
    every = family[test].merge(adjusted, how="left")["p_holm"].fillna(1.0)
    return family.assign(p_holm=every.to_numpy(), comparisons=len(once), counted=counted)


def _held_to_the_worst(table: pd.DataFrame) -> pd.Series:
    """Findings, "better" in the mean only where the worst site is not worse."""
    keys = ["model", "rival", "task", "metric"]
    kind = table["site"].isin({MEAN_UNSEEN, WORST_UNSEEN}).rename("never")
    worse = table["site"].isin(WORST) & (table["finding"] == Finding.WORSE.value)
    warned = worse.groupby([*(table[key] for key in keys), kind]).transform("any")
    better = table["site"].isin(MEANS) & (table["finding"] == Finding.BETTER.value)
    return table["finding"].mask(warned & better, Finding.MEAN_ONLY.value)


def whole_sets(table: pd.DataFrame, ours: pd.DataFrame, unseen: Collection[str]) -> pd.Series:
    """Rows of one site, and of several together where the rival was at each of them."""
    over_several = table["site"].isin(MEANS | WORST)
    known, single, kept = ours[ours["truth"].notna()], table[~over_several], ~over_several
    for names, never in OVER_SITES:
        tested, shared = (
            part[part["site"].isin(unseen) == never].groupby("task")["site"].nunique()
            for part in (known, single)
        )
        everywhere = shared == tested.reindex(shared.index)
        whole = table["task"].map(everywhere).fillna(False).astype(bool)
        kept |= table["site"].isin(names) & whole
    return kept


def _finding(row: pd.Series, config: EvaluationConfig) -> str:
    if row["value"] == row["low"] == row["high"] == 0:
        return Finding.EQUAL.value
    if row["p_holm"] >= 1 - config.confidence:
        return Finding.UNCLEAR.value
    item = reported_metric(row["task"], row["metric"])
    better = item is not None and item.better(row["value"], 0)
    return (Finding.BETTER if better else Finding.WORSE).value
