"""Predictions of a fine-tuned model on a site's labelled clips."""

from itertools import islice

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from echofm_core.data.windows import ClipWindows, to_batch
from echofm_core.models.echo_model import EchoModel
from echofm_core.tasks import TASKS, Task, TaskKind
from echofm_core.training.config import FinetuneConfig
from echofm_core.training.execution.devices import autocast, find_device
from echofm_core.training.objectives.targets import labels_of, to_units

#: What a clip is, and by what its patients are grouped; the latter null where not recorded.
IDENTITY = ["dataset", "site", "patient_id", "study_id", "clip_id", "view",
            "sex", "age", "quality", "vendor"]  # fmt: skip
#: Columns of class probabilities; null where the task has fewer classes.
PROBABILITIES = [f"p{index}" for index in range(max(spec.outputs for spec in TASKS.values()))]
COLUMNS = [*IDENTITY, "task", "truth", "prediction", *PROBABILITIES]

Array = NDArray[np.float32]


def predict(
    model: EchoModel,
    clips: ClipWindows,
    config: FinetuneConfig,
    *,
    batch_size: int,
    device: str,
) -> pd.DataFrame:
    """Predict every task of every clip that has its label.

    A clip's prediction is the mean over its test windows, taken in natural units: percent, ml,
    probabilities.

    Args:
        model: Put on the device, and in evaluation mode.
        clips: Those without a label are not read.
        config: As the model was trained: tasks, threshold, scaling of targets and precision.
        batch_size: Windows of one forward pass.

    Returns:
        One row a clip and labelled task: identity of the clip, ``task``, ``truth`` and
        ``prediction`` in natural units (binary: probability of the positive class; multiclass:
        most probable class, with ``p0``... the probabilities). Stays at the site.
    """
    labels = labels_of(clips.manifest, config.tasks, config.reduced_ef_threshold)
    rows = np.flatnonzero(np.isfinite(list(labels.values())).any(axis=0))
    if not len(rows):
        return pd.DataFrame(columns=COLUMNS)
    means = _predict_rows(model, clips, rows, config, batch_size, find_device(device))
    identity = clips.manifest[IDENTITY].iloc[rows].reset_index(drop=True)
    tables = [task_rows(identity, task, labels[task][rows], means[task]) for task in labels]
    return pd.concat(tables, ignore_index=True)


@torch.inference_mode()
def _predict_rows(
    model: EchoModel,
    clips: ClipWindows,
    rows: NDArray[np.int64],
    config: FinetuneConfig,
    batch_size: int,
    device: torch.device,
) -> dict[Task, Array]:
    """Task -> (rows,) or (rows, classes), means over each clip's windows."""
    model.to(device).eval()
    owners: list[int] = []
    parts: dict[Task, list[Array]] = {}
    every = ((n, window) for n, row in enumerate(rows) for window in clips.test_windows(int(row)))
    while drawn := list(islice(every, batch_size)):
        batch = to_batch([window for _, window in drawn])
        with autocast(device, config.precision):
            outputs = model(*model.inputs(batch, device))
        owners += [owner for owner, _ in drawn]
        for task, output in outputs.items():
            parts.setdefault(task, []).append(to_units(task, output, config.standardisation))
    counts = np.bincount(owners, minlength=len(rows)).astype(np.float32)
    starts = np.searchsorted(owners, np.arange(len(rows)))
    means = {}
    for task, values in parts.items():
        sums = np.add.reduceat(np.concatenate(values), starts, axis=0)
        means[task] = np.asarray((sums.T / counts).T, dtype=np.float32)
    return means


def task_rows(identity: pd.DataFrame, task: Task, truth: Array, means: Array) -> pd.DataFrame:
    """Rows of one task, from (N,) or (N, classes) predictions; clips without its label have none.

    ``identity`` has the columns :data:`IDENTITY`, and rows numbered from 0.
    """
    table = identity.assign(task=task.value, truth=truth)
    several = TASKS[task].kind is TaskKind.MULTICLASS
    table["prediction"] = means.argmax(axis=1).astype(np.float32) if several else means
    classes = means.shape[1] if several else 0
    for index, name in enumerate(PROBABILITIES):
        table[name] = means[:, index] if index < classes else np.float32(np.nan)
    return table[np.isfinite(truth)][COLUMNS]
