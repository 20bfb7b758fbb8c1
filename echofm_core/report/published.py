"""Published numbers of a plan (``[[study.published]]``) beside what a study measured.

They were found by others, with other models, patients and splits: they stand in a table of their
own, and nothing is compared with them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from echofm_core.evaluation.score import ALL_SITES
from echofm_core.pages.grid import Grid
from echofm_core.plan.study import Published

CAVEAT = (
    "Published numbers are of other models, trained and tested elsewhere: they stand beside ours, "
    "and nothing is compared with them."
)


def published_grid(
    published: Sequence[Published], scores: pd.DataFrame, models: Mapping[str, str]
) -> Grid | None:
    """A row a published number; ours of each model beside it, empty where there is none.

    Args:
        published: Of a plan.
        scores: Of a study, with columns model, site, task, metric, value.
        models: Model -> title; those without a score are left out.

    Returns:
        None where the plan names none, or nothing was scored.
    """
    there = set(scores["model"]) if len(scores) else set()
    models = {model: title for model, title in models.items() if model in there}
    if not published or not models:
        return None
    sources = _sources(published)
    rows = tuple(
        (
            f"{item.what} ({item.site})" if item.site else item.what,
            "" if item.value is None else f"{item.value:g} [{sources.index(item.source) + 1}]",
            *(_ours(item, scores[scores["model"] == model]) for model in models),
        )
        for item in published
    )
    columns = ("metric", "published", *models.values())
    return Grid(columns=columns, rows=rows, numbers=frozenset(range(1, len(columns))))


def source_lines(published: Sequence[Published]) -> list[str]:
    """Who published the numbers, by the number in square brackets behind each."""
    return [f"[{number}] {words}" for number, words in enumerate(_sources(published), 1)]


def _sources(published: Sequence[Published]) -> list[str]:
    return list(dict.fromkeys(item.source for item in published if item.value is not None))


def _ours(item: Published, scores: pd.DataFrame) -> str:
    """The value at its site, or over all; a model that was tested at one site has that alone."""
    rows = scores[(scores["task"] == item.task.value) & (scores["metric"] == item.metric)]
    values = {str(site): float(value) for site, value in rows.set_index("site")["value"].items()}
    if len(values) == 1 and not item.site:
        (value,) = values.values()
    else:
        value = values.get(item.site or ALL_SITES, math.nan)
    return "" if math.isnan(value) else f"{value:.3g}"
