"""The one or two metrics that a table shows of each task."""

from dataclasses import dataclass

import pandas as pd

from echofm_core.tasks import Task


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportedMetric:
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


def _regression(task: Task, name: str, unit: str) -> tuple[ReportedMetric, ReportedMetric]:
    """Mean absolute error, and the coefficient of determination beside it."""
    return (
        ReportedMetric(
            task=task,
            metric="mae",
            title=f"{name} MAE ({unit})",
            labels=name,
            digits=1,
            lower_is_better=True,
        ),
        ReportedMetric(task=task, metric="r2", title=f"{name} R²", labels=name, verdict=False),
    )


REPORTED = (
    *_regression(Task.EF, "EF", "points"),
    *_regression(Task.ESV, "ESV", "ml"),
    *_regression(Task.EDV, "EDV", "ml"),
    ReportedMetric(task=Task.REDUCED_EF, metric="auc", title="Reduced EF AUC", labels="EF"),
    ReportedMetric(
        task=Task.AS_GRADE,
        metric="macro_auc",
        title="Aortic stenosis macro AUC",
        labels="aortic stenosis",
    ),
    ReportedMetric(
        task=Task.AS_CLASS,
        metric="macro_auc",
        title="Aortic stenosis in three classes, macro AUC",
        labels="aortic stenosis",
    ),
    ReportedMetric(task=Task.VIEW, metric="macro_f1", title="View macro F1", labels="view"),
)


def reported_metric(task: str, metric: str) -> ReportedMetric | None:
    """The metric of a row of a score table, None where it has no table."""
    return next((h for h in REPORTED if (h.task.value, h.metric) == (task, metric)), None)


def reported_metrics(scores: pd.DataFrame) -> list[ReportedMetric]:
    """The metrics that some model has a score for."""
    there = set(zip(scores["task"], scores["metric"], strict=True))
    return [item for item in REPORTED if (item.task.value, item.metric) in there]
