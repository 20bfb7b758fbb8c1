"""Readings as rows: one a file and task, with the range over windows."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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
#: What a probability is of.
POSITIVE: Mapping[Task, str] = {Task.REDUCED_EF: "probability of reduced EF"}


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
        Columns ``COLUMNS``.
    """
    tables = []
    for number, file in enumerate(files, start=1):
        if meter is not None:
            meter.advance()
        try:
            reading = read_file(saved, file, device)
        except UnreadableFileError as error:
            tables.append(refusal(str(file), str(error)))
            continue
        picture = ""
        if pictures is not None and reading.attention is not None:
            picture = f"cine-{number:04d}.png"
            window, title, path = reading.first, _summary(reading), pictures / picture
            draw_attention(window, reading.attention, title, path, synthetic=is_phantom(file))
        tables.append(rows_of(str(file), reading, picture))
    return pd.concat(tables, ignore_index=True)


def rows_of(file: str, reading: Reading, picture: str = "") -> pd.DataFrame:
    """Table of one reading.

    Args:
        file: How the file is named in the table.
        reading: What was read.
        picture: Name of its picture, if there is one.

    Returns:
        Columns ``COLUMNS``. ``value`` is the mean over the windows; ``low`` and ``high`` the least
        and the greatest window. That is how steady the reading is over the cine, not how near it
        is to the truth. A task of classes has one row a class, its probability.
    """
    rows = []
    note = " ".join(["mirrored in time"] * reading.mirrored + list(reading.notes))
    for task, values in reading.windows.items():
        for name, unit, column in _columns(task, values):
            rows.append(
                {
                    "file": file,
                    "task": name,
                    "value": float(column.mean()),
                    "unit": unit,
                    "low": float(column.min()),
                    "high": float(column.max()),
                    "windows": len(column),
                    "frames": reading.frames,
                    "fps": reading.fps,
                    "note": note,
                    "picture": picture,
                }
            )
    return pd.DataFrame(rows, columns=COLUMNS, dtype=object)


def refusal(file: str, reason: str) -> pd.DataFrame:
    """The row of a file that could not be read."""
    row = {**dict.fromkeys(COLUMNS), "file": file, "task": REFUSED, "note": reason}
    return pd.DataFrame([row], columns=COLUMNS, dtype=object)


def _summary(reading: Reading) -> str:
    """The reading in one line, for a picture."""
    parts = []
    for task, values in reading.windows.items():
        match TASKS[task].kind:
            case TaskKind.REGRESSION:
                parts.append(f"{task.value.upper()} {values.mean():.0f} {TASKS[task].unit}")
            case TaskKind.BINARY:
                what = POSITIVE.get(task, task.value).removeprefix("probability of ")
                parts.append(f"{what} p={values.mean():.2f}")
            case TaskKind.MULTICLASS:
                mean = values.mean(axis=0)
                best = int(mean.argmax())
                parts.append(f"{task.value} {_class(task, best)} p={mean[best]:.2f}")
    return "   ".join(parts)


def _columns(task: Task, values: NDArray[np.float32]) -> list[tuple[str, str, NDArray[np.float32]]]:
    if TASKS[task].kind is TaskKind.MULTICLASS:
        return [
            (f"{task.value}: {_class(task, index)}", "probability", values[:, index])
            for index in range(values.shape[1])
        ]
    return [(task.value, TASKS[task].unit or POSITIVE.get(task, "probability"), values)]


def _class(task: Task, index: int) -> str:
    names = CLASS_NAMES.get(task)
    return names[index] if names and index < len(names) else str(index)
