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
    against,
    against_unseen,
    comparisons,
    not_above_floor,
)
from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.evaluation.labels import TASK_TITLES, unlabelled
from echofm_core.evaluation.levels import Level, level
from echofm_core.evaluation.model_names import FLOOR, model_title
from echofm_core.evaluation.paired import COUNTED, Finding
from echofm_core.evaluation.reported import ReportedMetric
from echofm_core.evaluation.score import WORST
from echofm_core.evaluation.score_table import TOO_FEW, ScoreTable, at
from echofm_core.runtime.text import many
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
        unseen_level = level(table, model, item, never_seen=True)
        if unseen_level.sites or unseen_level.few:
            lines.append(_unseen_sentence(table, found, unseen_level))
    reasons = unlabelled(census, tasks, set(scores["task"]))
    return lines + [f"{TASK_TITLES[task]}: {why}." for task, why in reasons.items()]


def sureness(paired: pd.DataFrame, config: EvaluationConfig) -> list[str]:
    """How the comparisons were made, and how many of them tell two models apart."""
    if paired.empty:
        return []
    claims = paired[~paired["site"].isin(WORST)]
    counted = claims[claims[COUNTED].astype(bool)] if COUNTED in claims else claims
    if counted.empty:
        return ["No two models that were compared differ in a prediction."]
    clear = int((~counted["finding"].isin([Finding.EQUAL.value, Finding.UNCLEAR.value])).sum())
    families = counted.assign(floor=counted["rival"] == FLOOR).groupby(["task", "metric", "floor"])
    sizes = families.size()
    together = (
        f"for the {_range(sizes)} comparisons of a table together (Holm), so an interval without "
        "zero is not enough"
        if sizes.max() > 1
        else "for the one comparison of a table"
    )
    again = len(claims) - len(counted)
    uncounted = [
        f"{many(again, 'row')} more {'is' if again == 1 else 'are'} not counted: the same "
        "comparison under another name, or two models that predict the same."
    ]
    worst = [
        f'"Better" in the mean over sites also needs that the worst site is not worse: the '
        f"{config.confidence:.0%} interval of that difference, of one comparison, must not lie "
        "wholly on the worse side of zero. Words about the worst site are of that one comparison "
        "too, without the correction."
    ]
    return [
        f"Both models of a comparison are scored on the same patients ({_range(paired['patients'])}"
        "); a difference is the first model minus the other, with its "
        f"{config.confidence:.0%} interval over patients.",
        f'"Better" and "worse" hold at the level of {1 - config.confidence:.2g} {together}: '
        f"{clear} of {len(counted)} {'tells' if clear == 1 else 'tell'} two models apart.",
        *(uncounted if again else []),
        *(worst if len(claims) < len(paired) else []),
        f"Sites with fewer than {config.min_patients} test patients are not compared.",
    ]


def _range(counts: pd.Series) -> str:
    low, high = counts.min(), counts.max()
    return f"{low} to {high}" if low < high else f"{high}"


def level_sentence(found: Level, model: str, where: str = "") -> str:
    """The worst site, the gap to the best, and the mean over sites.

    ``where``: of which sites, where they are not those that train.
    """
    text = "; ".join(_level_parts(found)) or "no value at any site"
    return f"{found.metric.heading}{where}: {model_title(model)} {text}."


def _level_parts(found: Level) -> list[str]:
    digits, parts = found.metric.digits, []
    if len(found.sites) == 1:
        ((site, only),) = found.sites.items()
        parts.append(f"{only} {at(site)} (n {only.patients}), the one site to judge by")
    elif found.sites:
        worst = found.sites[found.worst]
        parts.append(f"{worst} {at(found.worst)}, the worst site (n {worst.patients})")
        parts.append(f"gap {found.gap:z.{digits}f} to the best, {found.best}")
        parts.append(f"mean {found.mean:z.{digits}f} over {len(found.sites)} sites")
    for site, one in found.few.items():
        parts.append(f"{one.number} {at(site)} (n {one.patients}, {TOO_FEW})")
    return parts


def phrase(items: Sequence[Comparison], *, name: bool = False, glue: str = "; ") -> str:
    """Comparisons by finding: ``better at camus (-0.91 [-1.33, -0.50], n 24); worse at ...``.

    Args:
        items: What is to be said.
        name: Name the rivals, where the sentence does not.
        glue: Between findings.
    """
    groups: dict[Finding, list[str]] = {}
    for item in items:
        rival = f"{model_title(item.rival)}, " if name else ""
        text = f"{at(item.site)} ({rival}{item.difference}, n {item.patients})"
        groups.setdefault(item.finding, []).append(text)
    return glue.join(f"{finding} {', '.join(texts)}" for finding, texts in groups.items())


def _against_sentence(
    item: ReportedMetric, model: str, rival: str, answers: Sequence[Comparison]
) -> str:
    subject = f"{item.title}, {model_title(model)}"
    title, text = RIVALS[rival], phrase(answers, name=rival == BEST_SITE)
    if rival != FLOOR:
        return f"{subject} against {title}: {text}."
    beaten = [answer.finding is Finding.BETTER for answer in answers if answer.site not in WORST]
    if all(beaten):
        return f"{subject} beats {title}: {text}."
    how = "beats {} only in part" if any(beaten) else "does not beat {}"
    return f"{subject} {how.format(title)}: {text}."


def _unseen_sentence(table: ScoreTable, found: Sequence[Comparison], here: Level) -> str:
    """The model where none trained, and there against each rival."""
    model, item = table.models[0], here.metric
    parts = _level_parts(here)
    for rival, title in RIVALS.items():
        if answers := against_unseen(rival, table, found, item):
            parts.append(f"against {title} {phrase(answers, name=rival == BEST_SITE, glue=', ')}")
    return f"{item.heading}, where no model trained: {model_title(model)} {'; '.join(parts)}."


def _floor_sentence(item: ReportedMetric, failing: Sequence[Comparison]) -> str:
    text = "; ".join(
        f"{model_title(model)} {phrase([one for one in failing if one.model == model])}"
        for model in dict.fromkeys(one.model for one in failing)
    )
    return f"{item.title}, these do not beat {model_title(FLOOR)}: {text}."
