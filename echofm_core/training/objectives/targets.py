"""Labels of a manifest in the units a model is trained in, and model outputs back in ours."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from echofm_core.tasks import TASKS, VIEWS, Task, TaskKind
from echofm_core.training.config import FinetuneConfig

FloatArray = NDArray[np.float32]
#: Unit of the tasks that are volumes; their targets are logarithms.
VOLUME = "ml"
#: Regression task -> mean and standard deviation of its target.
Standardisation = Mapping[Task, tuple[float, float]]


def labels_of(
    manifest: pd.DataFrame, tasks: Iterable[Task], threshold: float
) -> dict[Task, FloatArray]:
    """Labels in natural units: percent, ml, class index, 0 or 1.

    Args:
        threshold: An EF below it, in percent, is the positive class of ``reduced_ef``.

    Returns:
        Task -> float (N,), one for each row of the manifest; NaN where there is no label.
    """
    return {task: _label(manifest, task, threshold) for task in tasks}


def labelled_rows(manifest: pd.DataFrame, tasks: Iterable[Task], threshold: float) -> pd.DataFrame:
    """The rows with a label of any of these tasks; arguments as of :func:`labels_of`."""
    labels = labels_of(manifest, tasks, threshold)
    return manifest.iloc[np.flatnonzero(np.isfinite(list(labels.values())).any(axis=0))]


def targets_of(
    manifest: pd.DataFrame, tasks: Iterable[Task], threshold: float, scaling: Standardisation
) -> dict[Task, FloatArray]:
    """Labels in model units: regression logged where the task says so, and standardised.

    Arguments and result as of :func:`labels_of`; ``scaling`` is the plan's ``standardisation``.
    """
    targets = {}
    for task, label in labels_of(manifest, tasks, threshold).items():
        spec = TASKS[task]
        scaled = np.log(label) if spec.log else label
        mean, sd = scaling[task] if spec.kind is TaskKind.REGRESSION else (0.0, 1.0)
        targets[task] = ((scaled - mean) / sd).astype(np.float32)
    return targets


def labelled_targets(
    manifest: pd.DataFrame, config: FinetuneConfig
) -> tuple[dict[Task, FloatArray], NDArray[np.int64]]:
    """Targets (N,) of the plan's tasks that have labels here, and rows that have one of any."""
    every = targets_of(manifest, config.tasks, config.reduced_ef_threshold, config.standardisation)
    rows = np.flatnonzero(np.isfinite(list(every.values())).any(axis=0))
    return {task: values for task, values in every.items() if np.isfinite(values).any()}, rows


def enlarged(task: Task, target: Tensor, volumes: Tensor, scaling: Standardisation) -> Tensor:
    """The target (B,) of windows that show a heart larger than it is, in model units.

    ``volumes``, float (B,), are natural logarithms of apparent over own volume; where the task is
    no volume, the target is itself.
    """
    return target + volumes / scaling[task][1] if TASKS[task].unit == VOLUME else target


def to_units(task: Task, output: Tensor, scaling: Standardisation) -> FloatArray:
    """A head's output in natural units.

    Args:
        output: Float (B, outputs).
        scaling: The plan's ``standardisation``, which the head was trained with.

    Returns:
        Regression (B,) in the task's unit, within its legal range; binary (B,) probability of the
        positive class; multiclass (B, C) probabilities.
    """
    spec = TASKS[task]
    raw = output.detach().float().cpu()
    if spec.kind is TaskKind.MULTICLASS:
        return np.asarray(raw.softmax(dim=1).numpy(), dtype=np.float32)
    raw = raw[:, 0]
    if spec.kind is TaskKind.BINARY:
        return np.asarray(raw.sigmoid().numpy(), dtype=np.float32)
    mean, sd = scaling[task]
    scaled = raw * sd + mean
    natural = scaled.exp() if spec.log else scaled
    return np.asarray(natural.clamp(spec.low, spec.high).numpy(), dtype=np.float32)


def _label(manifest: pd.DataFrame, task: Task, threshold: float) -> FloatArray:
    column = manifest[TASKS[task].column]
    if task is Task.VIEW:
        column = column.map({name: index for index, name in enumerate(VIEWS)}, na_action="ignore")
    values = column.astype("Float32").to_numpy(dtype=np.float32, na_value=np.nan)
    if task is Task.REDUCED_EF:
        return np.where(np.isnan(values), np.nan, values < threshold).astype(np.float32)
    return values
