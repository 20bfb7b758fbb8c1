"""The one or two metrics that a table shows of each task."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from echofm_core.tasks import Task


@dataclass(frozen=True, kw_only=True, slots=True)
class Headline:
    """A metric worth a table.

    Attributes:
        task, metric: As in a score table.
        title: How it is written.
        digits: Decimals shown.
        lower_is_better: Errors.
        labels: What a site needs for it, in words.
    """

    task: Task
    metric: str
    title: str
    labels: str
    digits: int = 2
    lower_is_better: bool = False

    def better(self, first: float, second: float) -> bool:
        """Whether the first value is strictly better than the second."""
        return first < second if self.lower_is_better else first > second


HEADLINES = (
    Headline(
        task=Task.EF,
        metric="mae",
        title="EF MAE (points)",
        labels="EF",
        digits=1,
        lower_is_better=True,
    ),
    Headline(task=Task.EF, metric="r2", title="EF R²", labels="EF"),
    Headline(task=Task.REDUCED_EF, metric="auc", title="Reduced EF AUC", labels="EF"),
    Headline(
        task=Task.AS_GRADE,
        metric="macro_auc",
        title="Aortic stenosis macro AUC",
        labels="aortic stenosis",
    ),
    Headline(
        task=Task.AS_CLASS,
        metric="macro_auc",
        title="Aortic stenosis in three classes, macro AUC",
        labels="aortic stenosis",
    ),
)


def headlines_of(scores: pd.DataFrame) -> list[Headline]:
    """The headlines that some model has a score for."""
    there = set(zip(scores["task"], scores["metric"], strict=True))
    return [item for item in HEADLINES if (item.task.value, item.metric) in there]
