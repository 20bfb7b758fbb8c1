"""Names in ``[[study.published]]`` that no table of the study can have, refused before training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd

from echofm_core.data.manifest import Split
from echofm_core.evaluation.metrics import metric_names
from echofm_core.evaluation.score import ALL_SITES, UNSEEN_SITES
from echofm_core.plan.complaints import unknown_word
from echofm_core.plan.document import Plan
from echofm_core.plan.study import Published
from echofm_core.runtime.errors import PlanError
from simulations.study.estimate import tasks_at
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
    for where, item in _named(plan):
        if item.task.value not in tasks:
            raise _refusal(where, "task", "task trained by this study", item.task.value, tasks)
        legal = metric_names(item.task)
        if item.metric not in legal:
            raise _refusal(where, "metric", f"metric of {item.task.value}", item.metric, legal)


def check_published_sites(plan: Plan, settings: Iterable[tuple[Plan, pd.DataFrame]]) -> None:
    """Refuse sites that have no test labels for the task under any protocol and variation.

    Args:
        plan: Of the study.
        settings: Of each protocol and variation its plan, and a manifest with sites and splits.

    Raises:
        PlanError: Says which sites there are.
    """
    named = [(where, item) for where, item in _named(plan) if item.site]
    if not named:
        return
    found = [(here, tasks_at(manifest, here, Split.TEST)) for here, manifest in settings]
    for where, item in named:
        legal = tuple(
            dict.fromkeys(
                site for here, counts in found for site in _test_sets(here, counts, item.task.value)
            )
        )
        if item.site not in legal:
            kind = f"site with test patients for {item.task.value}"
            raise _refusal(where, "site", kind, item.site, legal)


def _named(plan: Plan) -> Iterator[tuple[str, Published]]:
    for number, item in enumerate(plan.study.published, 1):
        yield f"table {number} of [[study.published]] ({item.what})", item


def _refusal(where: str, key: str, kind: str, word: str, legal: tuple[str, ...]) -> PlanError:
    return PlanError(f"{where}: `{key}`: {unknown_word(kind, word, legal or ('none',))}.")


def _test_sets(plan: Plan, counts: dict[str, dict[str, int]], task: str) -> list[str]:
    """Names of :func:`echofm_core.evaluation.score.test_sets`, of a task's labels at each site."""
    sites = [site for site, labels in counts.items() if labels.get(task)]
    never = [site for site in sites if site in plan.protocol.unseen]
    seen = [site for site in sites if site not in plan.protocol.unseen]
    joint = [ALL_SITES] if len(seen) > 1 or (seen and not never) else []
    return [*seen, *joint, *never, *([UNSEEN_SITES] if len(never) > 1 else [])]
