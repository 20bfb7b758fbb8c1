"""Readings as rows: one a file and task, with the range over windows."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echofm_core.evaluation.labels import TASK_TITLES
from echofm_core.inference.attention import draw_attention
from echofm_core.inference.files import Reading, read_file
from echofm_core.models.saved import SavedModel
from echofm_core.phantom.patients import is_phantom
from echofm_core.runtime.console import Meter
from echofm_core.runtime.errors import UnreadableFileError
from echofm_core.tasks import CLASS_NAMES, TASKS, Task, TaskKind

COLUMNS = [
    "file", "task", "value", "unit", "low", "high", "windows", "frames", "fps", "note", "picture",
]  # fmt: skip
#: The task of a file that could not be read.
REFUSED = "refused"


def read_files(
    saved: SavedModel,
    files: Sequence[Path],
    device: str,
    pictures: Path | None,
    meter: Meter | None,
) -> pd.DataFrame:
    """Let a model read files.

    Args:
        saved: The model.
        files: What it reads; one that cannot be read is a row with the reason.
        device: Where it computes.
        pictures: Folder for a picture a file of where the model looked, numbered as the files are.
        meter: Advanced by one a file.

    Returns:
        Columns ``COLUMNS``; ``value`` is the mean over the windows, ``low`` and ``high`` the least
        and the greatest window. A task of classes has one row a class, its probability.
    """
    rows: list[dict[str, object]] = []
    for number, file in enumerate(files, start=1):
        if meter is not None:
            meter.advance()
        about: dict[str, object] = {**dict.fromkeys(COLUMNS), "file": str(file)}
        try:
            reading = read_file(saved, file, device)
        except UnreadableFileError as error:
            rows.append({**about, "task": REFUSED, "note": str(error)})
            continue
        note = " ".join(["mirrored in time"] * reading.mirrored + list(reading.notes))
        about |= {"frames": reading.frames, "fps": reading.fps, "note": note, "picture": ""}
        if pictures is not None and reading.attention is not None:
            about["picture"] = picture = f"cine-{number:04d}.png"
            window, title, path = reading.first, _summary(reading), pictures / picture
            draw_attention(window, reading.attention, title, path, synthetic=is_phantom(file))
        rows += [{**about, **numbers} for numbers in _numbers(reading)]
    return pd.DataFrame(rows, columns=COLUMNS, dtype=object)


def _numbers(reading: Reading) -> Iterator[dict[str, object]]:
    """What the windows say of each task; how steady that is, not how near to the truth."""
    for task, values in reading.windows.items():
        for name, unit, column in _columns(task, values):
            yield {
                "task": name,
                "value": float(column.mean()),
                "unit": unit,
                "low": float(column.min()),
                "high": float(column.max()),
                "windows": len(column),
            }


def _columns(task: Task, values: NDArray[np.float32]) -> list[tuple[str, str, NDArray[np.float32]]]:
    """Name, unit and (W,) windows of each row."""
    match TASKS[task].kind:
        case TaskKind.REGRESSION:
            return [(task.value, TASKS[task].unit, values)]
        case TaskKind.BINARY:
            return [(task.value, f"probability of {TASK_TITLES[task]}", values)]
        case TaskKind.MULTICLASS:
            pairs = zip(CLASS_NAMES[task], values.T, strict=True)
            return [(f"{task.value}: {name}", "probability", column) for name, column in pairs]


def _summary(reading: Reading) -> str:
    """The reading in one line, for a picture."""
    parts = []
    for task, values in reading.windows.items():
        mean = values.mean(axis=0)
        match TASKS[task].kind:
            case TaskKind.REGRESSION:
                parts.append(f"{task.value.upper()} {mean:.0f} {TASKS[task].unit}")
            case TaskKind.BINARY:
                parts.append(f"{TASK_TITLES[task]} p={mean:.2f}")
            case TaskKind.MULTICLASS:
                name = CLASS_NAMES[task][int(mean.argmax())]
                parts.append(f"{task.value} {name} p={mean.max():.2f}")
    return "   ".join(parts)
