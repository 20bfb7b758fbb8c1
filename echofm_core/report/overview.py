"""The first screen of the page: what was asked, what was found, how sure, what is dangerous."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from echofm_core.data.manifest import Split
from echofm_core.evaluation.comparisons import (
    RIVALS,
    Comparison,
    against,
    against_unseen,
    comparisons,
)
from echofm_core.evaluation.decisions import Confusion, confusion
from echofm_core.evaluation.labels import TASK_TITLES, sites_having, unlabelled
from echofm_core.evaluation.levels import Level, level
from echofm_core.evaluation.model_names import LEAVE_ONE_OUT, model_title
from echofm_core.evaluation.paired import Finding
from echofm_core.evaluation.reported import ReportedMetric
from echofm_core.evaluation.score import MEAN_OF_SITES, WORST, study_cases
from echofm_core.evaluation.score_table import TOO_FEW, ScoreTable, at
from echofm_core.evaluation.strata import STRATA, shown_models, stratum_words
from echofm_core.pages.grid import Grid
from echofm_core.report.run_files import RunFiles
from echofm_core.report.words import Words
from echofm_core.tasks import CLASS_NAMES


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundRow:
    """What was found for one task.

    Attributes:
        title: The metric, with the direction that is better.
        numbers: Worst site, gap and mean over sites, each a number and what belongs to it; of
            those that train also the worst site and the mean of leaving each one out, where the run
            has that model.
        answers: Rival of :data:`~echofm_core.evaluation.verdict.RIVALS` -> comparisons; empty
            where the two are not compared.
        reason: Why the task has no numbers; empty where it has.
    """

    title: str
    numbers: tuple[tuple[str, str], ...] = ()
    answers: dict[str, list[Comparison]] = field(default_factory=dict)
    reason: str = ""


def asked(run: RunFiles) -> Grid | None:
    """Sites, patients to train and to test on, and the tasks they have labels for."""
    if run.sites.empty:
        return None
    rows = []
    for site in run.site_names:
        mine = run.sites[run.sites["site"] == site]
        patients = [
            str(int(mine.loc[mine["split"] == split.value, "patients"].sum()))
            for split in (Split.TRAIN, Split.TEST)
        ]
        labels = [
            TASK_TITLES[task]
            for task in run.plan.finetune.tasks
            if any(sites_having(mine, task, split) for split in Split)
        ]
        name = f"{site} (never seen)" if site in run.unseen else site
        rows.append((name, *patients, ", ".join(labels) or "none"))
    columns = ("site", "patients to train on", "to test on", "labels")
    return Grid(columns=columns, rows=tuple(rows), numbers=frozenset({1, 2}))


def found_rows(run: RunFiles) -> list[FoundRow]:
    """A row a task, planned tasks without labels included."""
    table, every = _table(run), comparisons(run.paired)
    rows = [_found(table, every, metric) for metric in table.metrics if metric.verdict]
    reasons = unlabelled(run.sites, run.plan.finetune.tasks, set(run.scores["task"]))
    return rows + [FoundRow(title=TASK_TITLES[task], reason=why) for task, why in reasons.items()]


def unseen_rows(run: RunFiles) -> list[FoundRow]:
    """A row a task that was tested where no model trained: how it does, and each rival there."""
    table, every, rows = _table(run), comparisons(run.paired), []
    for metric in table.metrics:
        here = level(table, table.models[0], metric, never_seen=True)
        if metric.verdict and (here.sites or here.few):
            answers = {rival: against_unseen(rival, table, every, metric) for rival in RIVALS}
            numbers = (_worst(here), _gap(here), _mean(here))
            rows.append(FoundRow(title=metric.heading, numbers=numbers, answers=answers))
    return rows


def _table(run: RunFiles) -> ScoreTable:
    return ScoreTable(run.scores, run.plan.evaluation.min_patients, run.unseen)


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


def matrices(run: RunFiles) -> dict[str, Confusion]:
    """Title -> confusion matrix over all sites that train, of the models that are looked at."""
    rows = {
        model: run.predictions[model][~run.predictions[model]["site"].isin(run.unseen)]
        for model in shown_models(run.predictions)
    }
    return {
        f"{TASK_TITLES[task]}, {model_title(model)}": table
        for task in run.plan.finetune.tasks
        if task in CLASS_NAMES
        for model, mine in rows.items()
        if (table := confusion(study_cases(mine, task), task))
    }


def _found(table: ScoreTable, every: Sequence[Comparison], metric: ReportedMetric) -> FoundRow:
    ours = level(table, table.models[0], metric)
    numbers = [_worst(ours), _gap(ours), _mean(ours)]
    if LEAVE_ONE_OUT in table.models:
        unseen = level(table, LEAVE_ONE_OUT, metric)
        numbers += [_worst(unseen), _mean(unseen)]
    return FoundRow(
        title=metric.heading,
        numbers=tuple(numbers),
        answers={rival: _shown(against(rival, table, every, metric)) for rival in RIVALS},
    )


def _mean(found: Level) -> tuple[str, str]:
    """Mean over the sites that are judged, and the values at the others."""
    digits, count = found.metric.digits, len(found.sites)
    number = f"{found.mean:z.{digits}f}" if count else ""
    sites = [f"{count} {'site' if count == 1 else 'sites'}"] if count else []
    few = [f"{site} {one.number} (n {one.patients}, {TOO_FEW})" for site, one in found.few.items()]
    return (number or ("" if few else "n/a"), "; ".join([*sites, *few]))


def _worst(found: Level) -> tuple[str, str]:
    """Value at the worst site, or at the only one."""
    if not found.sites:
        return ("", "")
    worst = found.sites[found.worst]
    return (worst.number, f"{found.worst} {worst.interval}, n {worst.patients}")


def _gap(found: Level) -> tuple[str, str]:
    """From the worst site to the best."""
    if len(found.sites) < 2:
        return ("", "")
    return (f"{found.gap:z.{found.metric.digits}f}", f"to {found.best}")


def _shown(found: list[Comparison]) -> list[Comparison]:
    """In the mean, at the worst site, and where the federation is worse; else at each site."""
    if not found or found[0].site != MEAN_OF_SITES:
        return found
    whole, *each = found
    return [
        whole,
        *(one for one in each if one.site in WORST),
        *(
            one
            for one in each
            if one.site not in WORST
            and one.finding is Finding.WORSE
            and whole.finding is not Finding.WORSE
        ),
    ]
