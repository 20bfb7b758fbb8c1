"""The verdict of a run in words: terminal, card and page print these sentences and no others.

Whatever compares two models is read from the paired table, through
:mod:`echofm_core.evaluation.comparisons`.
"""

from collections.abc import Collection, Sequence

import pandas as pd

from echofm_core.evaluation.comparisons import (
    BEST_SITE,
    RIVALS,
    Comparison,
    Level,
    against,
    against_unseen,
    comparisons,
    level,
    not_above_floor,
    unseen_set,
)
from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.evaluation.labels import TASK_TITLES, unlabelled
from echofm_core.evaluation.model_names import FLOOR, model_title
from echofm_core.evaluation.paired import Finding
from echofm_core.evaluation.reported import ReportedMetric
from echofm_core.evaluation.score import JOINT
from echofm_core.evaluation.score_table import TOO_FEW, ScoreTable, at
from echofm_core.tasks import Task


def verdict(
    scores: pd.DataFrame,
    paired: pd.DataFrame,
    census: pd.DataFrame,
    tasks: Sequence[Task],
    few: int,
    unseen: Collection[str] = (),
) -> list[str]:
    """The findings of a run, task by task.

    Args:
        scores: Columns model, site, task, metric, value, low, high, patients.
        paired: From :func:`echofm_core.evaluation.paired.paired_table`; may be empty.
        census: Label counts by site and split; empty where unknown.
        tasks: Planned tasks.
        few: Test patients below which a site is not judged.
        unseen: Sites that no model trained on.
    """
    table, found = ScoreTable(scores, few, unseen), comparisons(paired)
    lines = []
    for item in table.metrics:
        if not item.verdict:
            continue
        model = table.models[0]
        lines.append(level_sentence(level(table, model, item), model))
        for rival in RIVALS:
            if answers := against(rival, table, found, item):
                lines.append(_against_sentence(item, model, rival, answers))
        if failing := not_above_floor(found, item, model):
            lines.append(_floor_sentence(item, failing))
        if site := unseen_set(table, item):
            lines.append(_unseen_sentence(table, found, item, site))
    reasons = unlabelled(census, tasks, set(scores["task"]))
    return lines + [f"{TASK_TITLES[task]}: {why}." for task, why in reasons.items()]


def sureness(paired: pd.DataFrame, config: EvaluationConfig) -> list[str]:
    """How the comparisons were made, and how many of them tell two models apart."""
    if paired.empty:
        return []
    clear = int(paired["finding"].isin([Finding.BETTER.value, Finding.WORSE.value]).sum())
    families = paired.assign(floor=paired["rival"] == FLOOR).groupby(["task", "metric", "floor"])
    sizes = families.size()
    together = (
        f"for the {_range(sizes)} comparisons of a table together (Holm), so an interval without "
        "zero is not enough"
        if sizes.max() > 1
        else "for the one comparison of a table"
    )
    return [
        f"Both models of a comparison are scored on the same patients ({_range(paired['patients'])}"
        "); a difference is the first model minus the other, with its "
        f"{config.confidence:.0%} interval over patients.",
        f'"Better" and "worse" hold at the level of {1 - config.confidence:.2g} {together}: '
        f"{clear} of {len(paired)} {'tells' if clear == 1 else 'tell'} two models apart.",
        f"Sites with fewer than {config.min_patients} test patients are not compared.",
    ]


def _range(counts: pd.Series) -> str:
    low, high = counts.min(), counts.max()
    return f"{low} to {high}" if low < high else f"{high}"


def level_sentence(found: Level, model: str) -> str:
    """Mean over sites, the worst of them, and how far they lie apart."""
    digits, parts = found.metric.digits, []
    if len(found.sites) == 1:
        ((site, only),) = found.sites.items()
        parts.append(f"{only} {at(site)} (n {only.patients}), the one site to judge by")
    elif found.sites:
        worst = found.sites[found.worst]
        parts.append(f"{found.mean:z.{digits}f} in the mean over {len(found.sites)} sites")
        parts.append(f"worst {at(found.worst)}, {worst} (n {worst.patients})")
        parts.append(f"{found.gap:z.{digits}f} between the worst and the best site")
    for site, one in found.few.items():
        parts.append(f"{one.number} {at(site)} (n {one.patients}, {TOO_FEW})")
    text = "; ".join(parts) or "no value at any site"
    return f"{found.metric.heading}: {model_title(model)} {text}."


def phrase(items: Sequence[Comparison], *, name: bool = False) -> str:
    """Comparisons by finding: ``better at camus (-0.91 [-1.33, -0.50], n 24); worse at ...``.

    ``name``: name the rivals, where the sentence does not.
    """
    groups: dict[Finding, list[str]] = {}
    for item in items:
        rival = f"{model_title(item.rival)}, " if name else ""
        text = f"{at(item.site)} ({rival}{item.difference}, n {item.patients})"
        groups.setdefault(item.finding, []).append(text)
    return "; ".join(f"{finding} {', '.join(texts)}" for finding, texts in groups.items())


def _against_sentence(
    item: ReportedMetric, model: str, rival: str, answers: Sequence[Comparison]
) -> str:
    subject = f"{item.title}, {model_title(model)}"
    title, text = RIVALS[rival], phrase(answers, name=rival == BEST_SITE)
    if rival != FLOOR:
        return f"{subject} against {title}: {text}."
    beaten = [answer.finding is Finding.BETTER for answer in answers]
    if all(beaten):
        return f"{subject} beats {title}: {text}."
    how = "beats {} only in part" if any(beaten) else "does not beat {}"
    return f"{subject} {how.format(title)}: {text}."


def _unseen_sentence(
    table: ScoreTable, found: Sequence[Comparison], item: ReportedMetric, site: str
) -> str:
    """The model where none trained, and there against each rival."""
    model = table.models[0]
    cell = table.cell(model, site, item)
    never = "" if site in JOINT else ", a site never seen"
    parts = [f"{model_title(model)} {cell}" + (f" (n {cell.patients})" if cell.judged else "")]
    for rival, title in RIVALS.items():
        if answer := against_unseen(rival, table, found, item):
            name = f"{model_title(answer.rival)}, " if rival == BEST_SITE else ""
            difference = f"{name}{answer.difference}, n {answer.patients}"
            parts.append(f"against {title} {answer.finding} ({difference})")
    return f"{item.heading}, {at(site)}{never}: {'; '.join(parts)}."


def _floor_sentence(item: ReportedMetric, failing: Sequence[Comparison]) -> str:
    text = "; ".join(
        f"{model_title(model)} {phrase([one for one in failing if one.model == model])}"
        for model in dict.fromkeys(one.model for one in failing)
    )
    return f"{item.title}, these do not beat {model_title(FLOOR)}: {text}."
