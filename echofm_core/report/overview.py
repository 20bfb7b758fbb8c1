"""The first screen of the page: what was asked, what was found, how sure, what is dangerous."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from echofm_core.data.manifest import Split
from echofm_core.evaluation.decisions import Confusion, confusion
from echofm_core.evaluation.labels import TASK_TITLES, sites_having, unlabelled
from echofm_core.evaluation.model_names import LEAVE_ONE_OUT, model_title
from echofm_core.evaluation.paired import Finding
from echofm_core.evaluation.reported import ReportedMetric
from echofm_core.evaluation.score import ALL_SITES, study_cases
from echofm_core.evaluation.score_table import TOO_FEW, ScoreTable, at
from echofm_core.evaluation.strata import STRATA, shown_models, stratum_words
from echofm_core.evaluation.verdict import (
    BEST_SITE,
    RIVALS,
    Comparison,
    Level,
    against,
    comparisons,
    level,
)
from echofm_core.pages.grid import Grid
from echofm_core.report.words import Words
from echofm_core.tasks import CLASS_NAMES, Task

#: Style of each finding.
STYLES = {
    Finding.BETTER: "better",
    Finding.WORSE: "worse",
    Finding.EQUAL: "unclear",
    Finding.UNCLEAR: "unclear",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One comparison in a cell.

    Attributes:
        word: The finding.
        style: One of :data:`STYLES`.
        detail: Where, against whom, by how much, on how many.
    """

    word: str
    style: str
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundRow:
    """What was found for one task.

    Attributes:
        title: The metric, with the direction that is better.
        numbers: Mean over sites, worst site, and mean at unseen sites: each a number and what
            belongs to it.
        answers: Rival of :data:`~echofm_core.evaluation.verdict.RIVALS` -> comparisons; empty
            where the two are not compared.
        reason: Why the task has no numbers; empty where it has.
    """

    title: str
    numbers: tuple[tuple[str, str], ...] = ()
    answers: Mapping[str, tuple[Answer, ...]] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Matrix:
    """A confusion matrix with its title."""

    title: str
    table: Confusion


def asked(census: pd.DataFrame, tasks: Sequence[Task]) -> Grid | None:
    """Sites, patients to train and to test on, and the tasks they have labels for."""
    if census.empty:
        return None
    rows = []
    for site in sorted({str(name) for name in census["site"]}):
        mine = census[census["site"] == site]
        patients = [
            str(int(mine.loc[mine["split"] == split.value, "patients"].sum()))
            for split in (Split.TRAIN, Split.TEST)
        ]
        labels = [
            TASK_TITLES[task]
            for task in tasks
            if any(sites_having(mine, task, split) for split in Split)
        ]
        rows.append((site, *patients, ", ".join(labels) or "none"))
    columns = ("site", "patients to train on", "to test on", "labels")
    return Grid(columns=columns, rows=tuple(rows), numbers=frozenset({1, 2}))


def found_rows(
    scores: pd.DataFrame,
    paired: pd.DataFrame,
    census: pd.DataFrame,
    tasks: Sequence[Task],
    few: int,
) -> list[FoundRow]:
    """A row a task, planned tasks without labels included; arguments as of ``verdict``."""
    table, every = ScoreTable(scores, few), comparisons(paired)
    rows = [_found(table, every, metric) for metric in table.metrics if metric.verdict]
    reasons = unlabelled(census, tasks, set(scores["task"]))
    return rows + [FoundRow(title=TASK_TITLES[task], reason=why) for task, why in reasons.items()]


def error_table(words: Words, threshold: str, *, whole: bool) -> Grid | None:
    """EF error by stratum, then what the threshold finds and misses.

    Args:
        words: Their numbers.
        threshold: EF in percent below which it is reduced, in words.
        whole: A column a model, over all sites; else a column a model and site.
    """
    errors = {(one.model, one.site): one.errors for one in words.strata}
    decided = {(one.model, one.site): one for one in words.decisions}
    columns = list(dict.fromkeys([*errors, *decided]))
    if whole:  # the first column of each model is of all sites
        columns = list(dict(reversed(columns)).items())[::-1]
    if not columns:
        return None
    rows = [
        (title, *(stratum_words(errors[c][index]) if c in errors else "" for c in columns))
        for index, title in enumerate(STRATA)
        if errors
    ]
    for title, name in (
        (f"EF < {threshold}, found (sensitivity)", "sensitivity"),
        (f"EF >= {threshold}, cleared (specificity)", "specificity"),
        ("patients", "patients"),
    ):
        if decided:
            values = (getattr(decided[c], name) if c in decided else "" for c in columns)
            rows.append((title, *values))
    titles = (f"{model_title(model)} {at(site)}" for model, site in columns)
    return Grid(columns=("reference", *titles), rows=tuple(rows))


def matrices(predictions: Mapping[str, pd.DataFrame], tasks: Sequence[Task]) -> list[Matrix]:
    """Confusion matrices over all sites, of the models that are looked at."""
    return [
        Matrix(title=f"{TASK_TITLES[task]}, {model_title(model)}", table=table)
        for task in tasks
        if task in CLASS_NAMES
        for model in shown_models(predictions)
        if (table := confusion(study_cases(predictions[model], task), task))
    ]


def _found(table: ScoreTable, every: Sequence[Comparison], metric: ReportedMetric) -> FoundRow:
    ours = level(table, table.models[0], metric)
    unseen = level(table, LEAVE_ONE_OUT, metric)
    return FoundRow(
        title=metric.heading,
        numbers=(_mean(ours), _worst(ours), _mean(unseen)),
        answers={rival: _answers(against(rival, table, every, metric), rival) for rival in RIVALS},
    )


def _mean(found: Level) -> tuple[str, str]:
    """Mean over the sites that are judged, and the values at the others."""
    digits, count = found.metric.digits, len(found.sites)
    number = f"{found.mean:z.{digits}f}" if count else ""
    sites = [f"{count} {'site' if count == 1 else 'sites'}"] if count else []
    few = [f"{site} {one.number} (n {one.patients}, {TOO_FEW})" for site, one in found.few.items()]
    return (number or ("" if few else "n/a"), "; ".join([*sites, *few]))


def _worst(found: Level) -> tuple[str, str]:
    """Value at the worst site, and its distance from the best one."""
    if not found.sites:
        return ("", "")
    worst = found.sites[found.worst]
    gap = f"gap {found.gap:z.{found.metric.digits}f}"
    detail = f"{found.worst} {worst.interval}, n {worst.patients}"
    return (worst.number, f"{detail}; {gap}" if len(found.sites) > 1 else detail)


def _answers(found: list[Comparison], rival: str) -> tuple[Answer, ...]:
    """Over all sites, and where the federation is worse than that says; else at each site."""
    if found and found[0].site == ALL_SITES:
        whole = found[0]
        found = [whole, *(one for one in found[1:] if one.finding is Finding.WORSE)]
        found = [whole] if whole.finding is Finding.WORSE else found
    names = [f" ({model_title(one.rival)})" if rival == BEST_SITE else "" for one in found]
    return tuple(
        Answer(
            word=one.finding.value,
            style=STYLES[one.finding],
            detail=f"{at(one.site)}{name}, {one.difference}, n {one.patients}",
        )
        for one, name in zip(found, names, strict=True)
    )
