"""The metrics that a table shows of each task: one, or of a measurement three."""

from dataclasses import dataclass

import pandas as pd

from echofm_core.tasks import Task


@dataclass(frozen=True, slots=True)
class ReportedMetric:
    """A metric worth a table."""

    task: Task
    metric: str
    title: str
    labels: str
    """What a site needs for it, in words."""
    digits: int = 2
    """Decimals shown."""
    lower_is_better: bool = False
    verdict: bool = True
    """Whether sentences are written of it: one metric a task; others stand in tables alone."""

    def better(self, first: float, second: float) -> bool:
        """Whether the first value is strictly better than the second."""
        return first < second if self.lower_is_better else first > second

    @property
    def heading(self) -> str:
        """The title with the direction that is better."""
        return f"{self.title}, {'lower' if self.lower_is_better else 'higher'} is better"


def _regression(task: Task, name: str, unit: str) -> tuple[ReportedMetric, ...]:
    """Mean absolute error, with the coefficient of determination and Pearson's r beside it.

    Tables of EchoNet-Dynamic have R², those of CAMUS r, which a wrong scale or bias does not lower.
    """
    mae = ReportedMetric(task, "mae", f"{name} MAE ({unit})", name, digits=1, lower_is_better=True)
    r2 = ReportedMetric(task, "r2", f"{name} R²", name, verdict=False)
    return mae, r2, ReportedMetric(task, "pearson", f"{name} Pearson r", name, verdict=False)


_STENOSIS = "aortic stenosis"
REPORTED = (
    *_regression(Task.EF, "EF", "points"),
    *_regression(Task.ESV, "ESV", "ml"),
    *_regression(Task.EDV, "EDV", "ml"),
    ReportedMetric(Task.REDUCED_EF, "auc", "Reduced EF AUC", "EF"),
    ReportedMetric(Task.AS_GRADE, "macro_auc", "Aortic stenosis macro AUC", _STENOSIS),
    ReportedMetric(
        Task.AS_CLASS, "macro_auc", "Aortic stenosis in three classes, macro AUC", _STENOSIS
    ),
    ReportedMetric(Task.VIEW, "macro_f1", "View macro F1", "view"),
)


def reported_metric(task: str, metric: str) -> ReportedMetric | None:
    """The metric of a row of a score table, None where it has no table."""
    return next((h for h in REPORTED if (h.task.value, h.metric) == (task, metric)), None)


def reported_metrics(scores: pd.DataFrame) -> list[ReportedMetric]:
    """The metrics that some model has a score for."""
    there = set(zip(scores["task"], scores["metric"], strict=True))
    return [item for item in REPORTED if (item.task.value, item.metric) in there]
