"""Which evaluation results may enter a table: as strict as for updates.

A result that fails is refused with one sentence, and the run goes on without it. What a site says
of its own patients cannot be proved wrong from here; what cannot be true is not taken.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from echofm_core.contract import EVERY_NUMBER, Score, Scored, SiteResult, releases, score_name
from echofm_core.evaluation.metrics import task_metrics
from echofm_core.runtime.errors import RefusedUpdateError
from echofm_core.runtime.text import many
from echofm_core.tasks import TASKS, Task
from server.admission import check_heads, check_names, check_same

#: Metrics with legal ends; the others may be any number.
ENDS: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(("mae", "rmse"), (0.0, math.inf)),
    "r2": (-math.inf, 1.0),
    **dict.fromkeys(("pearson", "quadratic_kappa"), (-1.0, 1.0)),
    **dict.fromkeys(
        (
            *("reduced_auc", "auc", "average_precision", "balanced_accuracy", "sensitivity"),
            *("specificity", "f1", "f1_negative", "accuracy", "prevalence", "macro_auc"),
            *("macro_f1", "all_positive_accuracy", "all_positive_f1"),
            *("all_negative_accuracy", "all_negative_f1"),
        ),
        (0.0, 1.0),
    ),
}
#: Rounding of a mean of ratios may end a little beyond.
SLACK = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpectedResult:
    """What a result must be to count.

    Attributes:
        site, plan_hash: Who was asked for what.
        digest: Of the weights that were sent, in wire precision.
        most_patients: Planned task -> test clips with its label that the site described; a
            patient has at least one.
        released: What the site announced that its policy lets leave.
    """

    site: str
    plan_hash: str
    digest: str
    most_patients: Mapping[str, int]
    released: str = EVERY_NUMBER


def admit_result(result: SiteResult, expected: ExpectedResult) -> None:
    """Check a result.

    Raises:
        RefusedUpdateError: What is wrong, what was expected and what was found.
    """
    check_same("site", result.site, expected.site)
    check_same("plan hash", result.plan_hash, expected.plan_hash)
    check_same("digest of the tested weights", result.digest, expected.digest)
    check_heads(result)
    _check_patients(result.patients, expected.most_patients)
    known = {
        tested: {
            score_name(tested, task, metric)
            for task in result.patients
            for metric in metric_names(Task(task))
            if releases(expected.released, f"{task}/{metric}")
        }
        for tested in Scored
    }
    # The tested model has every score, floor and difference as many as the site sends.
    others = set(result.scores) & set[str]().union(*known.values())
    wanted = [repr(name) for name in known[Scored.MODEL] | others]
    check_names("score", [repr(name[:80]) for name in result.scores], wanted)
    for name, score in result.scores.items():
        _check_score(name, score)


def metric_names(task: Task) -> tuple[str, ...]:
    """Every metric that a task is scored by: what the site's own code returns."""
    width = TASKS[task].outputs
    prediction = np.zeros((1, width)) if width > 1 else np.zeros(1)
    return tuple(task_metrics(task, np.zeros(1), prediction, np.ones((1, 1)), threshold=50.0))


def _check_patients(patients: Mapping[str, int], most: Mapping[str, int]) -> None:
    """Planned tasks with labels, and no more patients than the site described clips."""
    if not patients:
        raise RefusedUpdateError("no task has test patients.")
    for task, count in patients.items():
        if not most.get(task):
            raise RefusedUpdateError(f"{task[:80]!r} is no task that the site has test labels for.")
        if not 0 < count <= most[task]:
            raise RefusedUpdateError(
                f"it has {many(count, 'test patient')} for {task}, but described "
                f"{many(most[task], 'clip')}."
            )


def _check_score(name: str, score: Score) -> None:
    """Numbers that a metric can have: finite within its ends, or NaN for not defined."""
    numbers = (score.value, score.low, score.high)
    if any(map(math.isinf, numbers)):
        raise RefusedUpdateError(f"score {name} is not finite.")
    low, high = ENDS.get(name.rpartition("/")[2], (-math.inf, math.inf))
    bounded: tuple[float, ...] = numbers
    if name.startswith(f"{Scored.DIFFERENCE}/"):
        # Student's interval of a difference may go on beyond what the difference itself can be.
        low, high, bounded = low - high, high - low, (score.value,)
    for number in bounded:
        if number < low - SLACK or number > high + SLACK:
            raise RefusedUpdateError(f"score {name} is {number:g}, legal is {low:g} to {high:g}.")
    if math.isnan(score.low) != math.isnan(score.high) or score.low > score.high:
        raise RefusedUpdateError(f"score {name} has the interval {score.low:g} to {score.high:g}.")
    if not math.isnan(score.p) and not (
        name.startswith(f"{Scored.DIFFERENCE}/") and 0 <= score.p <= 1
    ):
        raise RefusedUpdateError(f"score {name} has the p {score.p:g}.")
    if math.isnan(score.value) and not math.isnan(score.low):
        raise RefusedUpdateError(f"score {name} has an interval and no value.")
