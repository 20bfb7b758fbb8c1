"""Words in ``[[study.published]]`` that no table of the study can have, refused at once.

What needs data to be judged is in ``published_sites.py``; nothing here is slow to import.
"""

from __future__ import annotations

from collections.abc import Iterator

from echofm_core.evaluation.metrics import metric_names
from echofm_core.plan.complaints import unknown_word
from echofm_core.plan.document import Plan
from echofm_core.plan.study import Published
from echofm_core.runtime.errors import PlanError
from simulations.study.variations import variations


def check_published(plan: Plan) -> None:
    """Refuse tasks that no variation of a plan trains, and metrics that a task does not have.

    Raises:
        PlanError: Says which names there are.
    """
    if not plan.study.published:
        return
    every = [variation.of(plan).finetune for variation in variations(plan)]
    tasks = tuple(dict.fromkeys(task.value for one in every if one.rounds for task in one.tasks))
    for where, item in named(plan):
        if item.task.value not in tasks:
            raise refusal(where, "task", "task trained by this study", item.task.value, tasks)
        legal = metric_names(item.task)
        if item.metric not in legal:
            raise refusal(where, "metric", f"metric of {item.task.value}", item.metric, legal)


def named(plan: Plan) -> Iterator[tuple[str, Published]]:
    """Each table, with what a sentence about it begins with."""
    for number, item in enumerate(plan.study.published, 1):
        yield f"table {number} of [[study.published]] ({item.what})", item


def refusal(where: str, key: str, kind: str, word: str, legal: tuple[str, ...]) -> PlanError:
    """Of a word under ``key`` that is none of the legal ones."""
    return PlanError(f"{where}: `{key}`: {unknown_word(kind, word, legal or ('none',))}.")
