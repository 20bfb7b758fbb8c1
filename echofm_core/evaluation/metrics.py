"""Metrics of regression, binary and multi-class predictions, for many resamples at once.

Every function takes N cases and an (R, N) matrix of case weights and returns R values a metric:
row r is the metric on a sample that holds case i ``weights[r, i]`` times. One row of ones is the
plain metric. What a sample leaves undefined (one class only, no spread) is NaN, never an error.
"""

import numpy as np
from numpy.typing import NDArray

from echofm_core.evaluation.ranking import Floats, auc, average_precision, ratio
from echofm_core.tasks import TASKS, Task, TaskKind

#: A predicted probability from here on means the positive class.
DECISION = 0.5


def task_metrics(
    task: Task, truth: Floats, prediction: Floats, weights: Floats, threshold: float
) -> dict[str, Floats]:
    """All metrics of a task, name -> (R,) values; all NaN where a prediction is not finite.

    Args:
        task: ``ef`` also gets ``reduced_auc``, how well it ranks the patients below ``threshold``.
        truth: (N,) natural units, 0/1, or class index.
        prediction: (N,) natural units or probability; (N, C) probabilities where multi-class.
        weights: (R, N) how often each case is in each sample.
        threshold: EF in percent below which it is reduced.
    """
    spec = TASKS[task]
    finite = bool(np.isfinite(prediction).all())
    usable = prediction if finite else np.zeros_like(prediction)
    if spec.kind is TaskKind.REGRESSION:
        values = regression_metrics(truth, usable, weights)
        if task is Task.EF:
            values["reduced_auc"] = auc(truth < threshold, -usable, weights)
    elif spec.kind is TaskKind.BINARY:
        values = binary_metrics(truth > 0.5, usable, weights)
    else:
        grade = truth.astype(np.int64)
        values = multiclass_metrics(grade, usable, weights, ordered=task is not Task.VIEW)
    return values if finite else {name: np.full(len(weights), np.nan) for name in values}


def metric_names(task: Task) -> tuple[str, ...]:
    """Names of all metrics of a task, as :func:`task_metrics` gives them."""
    spec, one = TASKS[task], np.ones((1, 1))
    several = spec.kind is TaskKind.MULTICLASS
    prediction = np.ones((1, spec.outputs)) if several else np.ones(1)
    return tuple(task_metrics(task, np.zeros(1), prediction, one, threshold=0.0))


def regression_metrics(truth: Floats, prediction: Floats, weights: Floats) -> dict[str, Floats]:
    """Errors, R2, correlation and calibration of (N,) predictions in the task's unit.

    ``r2`` is the coefficient of determination, not the squared correlation. ``bias`` is prediction
    minus truth. ``calibration_slope`` is that of truth against prediction: below 1, predictions
    spread too far.
    """
    error = prediction - truth
    t = truth - truth.mean()
    p = prediction - prediction.mean()
    terms = np.stack([np.abs(error), error**2, error, t, p, t * t, p * p, t * p], axis=1)
    means = ratio(weights @ terms, weights.sum(axis=1, keepdims=True))
    absolute, squared, bias, mean_t, mean_p, tt, pp, tp = means.T
    spread_t = _spread(tt - mean_t**2, t, truth)
    spread_p = _spread(pp - mean_p**2, p, prediction)
    shared = tp - mean_t * mean_p
    return {
        "mae": absolute,
        "rmse": np.sqrt(squared),
        "r2": 1 - squared / spread_t,
        "pearson": np.clip(shared / np.sqrt(spread_t * spread_p), -1, 1),
        "bias": bias,
        "calibration_slope": shared / spread_p,
    }


def binary_metrics(
    positive: NDArray[np.bool_], probability: Floats, weights: Floats
) -> dict[str, Floats]:
    """Ranking and decision metrics of (N,) probabilities of the positive class, with baselines.

    ``f1`` is that of the positive class (reduced EF), ``f1_negative`` that of the other, which the
    published tables report as F1. ``all_positive_*`` and ``all_negative_*`` belong to classifiers
    that ignore the picture and always answer the same.
    """
    predicted = probability >= DECISION
    cells = np.stack(
        [positive & predicted, ~positive & predicted, positive & ~predicted, ~positive & ~predicted]
    )
    tp, fp, fn, tn = (weights @ cells.T.astype(np.float64)).T
    total = tp + fp + fn + tn
    prevalence = ratio(tp + fn, total)
    sensitivity, specificity = ratio(tp, tp + fn), ratio(tn, tn + fp)
    return {
        "auc": auc(positive, probability, weights),
        "average_precision": average_precision(positive, probability, weights),
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "sensitivity": sensitivity,
        "specificity": specificity,
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
        "f1_negative": ratio(2 * tn, 2 * tn + fp + fn),
        "accuracy": ratio(tp + tn, total),
        "prevalence": prevalence,
        "all_positive_accuracy": prevalence,
        "all_positive_f1": 2 * prevalence / (1 + prevalence),
        "all_negative_accuracy": 1 - prevalence,
        "all_negative_f1": 2 * (1 - prevalence) / (2 - prevalence),
    }


def multiclass_metrics(
    truth: NDArray[np.int64], probability: Floats, weights: Floats, *, ordered: bool
) -> dict[str, Floats]:
    """Macro averages over the classes that are there, from (N,) class indices and (N, C).

    ``macro_auc`` (one class against the rest, mean over classes in the sample), ``macro_f1`` (mean
    over classes in truth or prediction), ``accuracy``; ``quadratic_kappa`` where classes are grades
    (``ordered``).
    """
    classes = probability.shape[1]
    predicted = probability.argmax(axis=1)
    one_hot = np.eye(classes * classes)[truth * classes + predicted]
    table = (weights @ one_hot).reshape(-1, classes, classes)  # (R, truth, prediction)
    hits = np.diagonal(table, axis1=1, axis2=2)
    of_truth, of_predicted = table.sum(axis=2), table.sum(axis=1)
    total = table.sum(axis=(1, 2))
    each = [auc(truth == c, probability[:, c], weights) for c in range(classes)]
    values = {
        "macro_auc": _mean_of_defined(np.stack(each, axis=1)),
        "macro_f1": _mean_of_defined(ratio(2 * hits, of_truth + of_predicted)),
        "accuracy": ratio(hits.sum(axis=1), total),
    }
    if ordered:
        steps = np.subtract.outer(np.arange(classes), np.arange(classes)) ** 2
        chance = ratio(of_truth[:, :, None] * of_predicted[:, None, :], total[:, None, None])
        met, expected = (table * steps).sum(axis=(1, 2)), (chance * steps).sum(axis=(1, 2))
        values["quadratic_kappa"] = 1 - ratio(met, expected)
    return values


def _spread(variance: Floats, centred: Floats, raw: Floats) -> Floats:
    """Variances, NaN where they are zero but for rounding."""
    rounding = 1e-12 * np.max(centred**2, initial=0) + 1e-24 * np.max(raw**2, initial=0)
    return np.where(variance > rounding, variance, np.nan)


def _mean_of_defined(values: Floats) -> Floats:
    """Row means over the entries that are not NaN."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0).sum(axis=1), defined.sum(axis=1).astype(float))
