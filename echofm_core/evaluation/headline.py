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
        verdict: Whether sentences are written of it; each task has one such metric, and the
            others stand in tables alone.
    """

    task: Task
    metric: str
    title: str
    labels: str
    digits: int = 2
    lower_is_better: bool = False
    verdict: bool = True

    def better(self, first: float, second: float) -> bool:
        """Whether the first value is strictly better than the second."""
        return first < second if self.lower_is_better else first > second

    @property
    def heading(self) -> str:
        """The title with the direction that is better."""
        return f"{self.title}, {'lower' if self.lower_is_better else 'higher'} is better"


def _regression(task: Task, name: str, unit: str) -> tuple[Headline, Headline]:
    """Mean absolute error, and the coefficient of determination beside it."""
    return (
        Headline(
            task=task,
            metric="mae",
            title=f"{name} MAE ({unit})",
            labels=name,
            digits=1,
            lower_is_better=True,
        ),
        Headline(task=task, metric="r2", title=f"{name} R²", labels=name, verdict=False),
    )


HEADLINES = (
    *_regression(Task.EF, "EF", "points"),
    *_regression(Task.ESV, "ESV", "ml"),
    *_regression(Task.EDV, "EDV", "ml"),
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
    Headline(task=Task.VIEW, metric="macro_f1", title="View macro F1", labels="view"),
)


def headline_of(task: str, metric: str) -> Headline | None:
    """The headline of a row of a score table, None where it is none."""
    return next((h for h in HEADLINES if (h.task.value, h.metric) == (task, metric)), None)


def headlines_of(scores: pd.DataFrame) -> list[Headline]:
    """The headlines that some model has a score for."""
    there = set(zip(scores["task"], scores["metric"], strict=True))
    return [item for item in HEADLINES if (item.task.value, item.metric) in there]
