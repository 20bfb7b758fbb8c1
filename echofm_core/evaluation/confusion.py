"""Which class is taken for which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from echofm_core.evaluation.metrics import DECISION
from echofm_core.evaluation.score import Cases
from echofm_core.tasks import AS_CLASSES, AS_GRADES, VIEWS, Task

#: Class names of each task that has classes, in the order of their labels.
CLASSES = {
    Task.REDUCED_EF: ("not reduced", "reduced"),
    Task.AS_GRADE: AS_GRADES,
    Task.AS_CLASS: AS_CLASSES,
    Task.VIEW: VIEWS,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Confusion:
    """Counts of studies (for ``view``: of clips), a row a true class, a column a predicted one.

    Attributes:
        classes: Names, of rows and columns alike; those that occur on neither side are left out.
        counts: As many rows as classes, each with as many counts.
    """

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


def confusion(cases: Cases, task: Task) -> Confusion | None:
    """The matrix of a task with classes; None where a prediction is not a number, or no case is.

    The predicted class is the most probable one; with two, the positive one from a probability of
    :data:`~echofm_core.evaluation.metrics.DECISION` on.

    Raises:
        KeyError: The task has no classes.
    """
    names = CLASSES[task]
    if not len(cases.truth) or not np.isfinite(cases.prediction).all():
        return None
    binary = cases.prediction.ndim == 1
    said = cases.prediction >= DECISION if binary else cases.prediction.argmax(axis=1)
    table = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(table, (cases.truth.astype(np.int64), said.astype(np.int64)), 1)
    kept = np.flatnonzero(table.sum(axis=0) + table.sum(axis=1))
    return Confusion(
        classes=tuple(names[index].replace("_", " ") for index in kept),
        counts=tuple(tuple(map(int, table[row, kept])) for row in kept),
    )
