"""Sites in ``[[study.published]]`` that no table of the study can have, refused before training."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from echofm_core.data.manifest import Split
from echofm_core.evaluation.score import ALL_SITES, UNSEEN_SITES
from echofm_core.plan.document import Plan
from simulations.study.estimate import tasks_at
from simulations.study.published import named, refusal


def check_published_sites(plan: Plan, settings: Iterable[tuple[Plan, pd.DataFrame]]) -> None:
    """Refuse sites that have no test labels for the task under any protocol and variation.

    Args:
        plan: Of the study.
        settings: Of each protocol and variation its plan, and a manifest with sites and splits.

    Raises:
        PlanError: Says which sites there are.
    """
    of_sites = [(where, item) for where, item in named(plan) if item.site]
    if not of_sites:
        return
    found = [(here, tasks_at(manifest, here, Split.TEST)) for here, manifest in settings]
    for where, item in of_sites:
        legal = tuple(
            dict.fromkeys(
                site for here, counts in found for site in _test_sets(here, counts, item.task.value)
            )
        )
        if item.site not in legal:
            kind = f"site with test patients for {item.task.value}"
            raise refusal(where, "site", kind, item.site, legal)


def _test_sets(plan: Plan, counts: dict[str, dict[str, int]], task: str) -> list[str]:
    """Names of :func:`echofm_core.evaluation.score.test_sets`, of a task's labels at each site."""
    sites = [site for site, labels in counts.items() if labels.get(task)]
    never = [site for site in sites if site in plan.protocol.unseen]
    seen = [site for site in sites if site not in plan.protocol.unseen]
    joint = [ALL_SITES] if len(seen) > 1 or (seen and not never) else []
    return [*seen, *joint, *never, *([UNSEEN_SITES] if len(never) > 1 else [])]
