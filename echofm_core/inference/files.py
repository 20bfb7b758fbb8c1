"""Predictions on files as they lie: AVI, MP4, DICOM, NIfTI."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from echofm_core.data.decode import Decoded, decode_clip
from echofm_core.data.dicom.header import ObjectKind, read_header
from echofm_core.data.file_kinds import CINES, CINES_NAMED, Kind, kind_of
from echofm_core.data.formats.nifti import is_mask
from echofm_core.data.formats.timeline import Timeline
from echofm_core.data.readers._dicom import REASONS
from echofm_core.data.resize import in_square
from echofm_core.data.windows import Window, to_batch
from echofm_core.models.saved import SavedModel
from echofm_core.plan.preflight import check_places
from echofm_core.runtime.errors import DataRootError, UnreadableFileError
from echofm_core.runtime.text import many
from echofm_core.tasks import Task
from echofm_core.training.execution.devices import autocast, find_device
from echofm_core.training.objectives.targets import to_units

KINDS = CINES | {Kind.NIFTI, Kind.NIFTI_PACKED}
#: Windows of one forward pass.
BATCH = 8


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Reading:
    """What a model read from one cine.

    Attributes:
        windows: Task -> (W,) or (W, classes) of each window that covers the cine, in natural units
            (percent, ml) or probabilities. The prediction is their mean.
        frames, fps: Of the cine; fps None where no element says.
        notes: What was mended in decoding, or is missing.
        mirrored: The cine holds less than a window and was mirrored in time.
        first: The first window, for pictures.
        attention: ``(slots, rows, cols)`` weights of STF-Net's joint pathway on it, sum 1; None
            where the model has no such pathway.
    """

    windows: Mapping[Task, NDArray[np.float32]]
    frames: int
    fps: float | None
    notes: tuple[str, ...]
    mirrored: bool
    first: Window
    attention: NDArray[np.float32] | None


def files_at(places: Sequence[Path]) -> list[Path]:
    """Files that are named, and those below named folders, in name order.

    Raises:
        DataRootError: A place is missing, or a folder holds no cine.
    """
    found: list[Path] = []
    for place in places:
        check_places([place])
        below = [place] if place.is_file() else sorted(filter(_is_cine, place.rglob("*")))
        if not below:
            raise DataRootError(
                f"{place} holds no cine: none of .nii, .nii.gz, {CINES_NAMED}; name files, or "
                "folders with files."
            )
        found += below
    return found


def read_file(saved: SavedModel, file: Path, device: str = "auto") -> Reading:
    """Let a model read one file.

    Raises:
        UnreadableFileError: It cannot be decoded, or is no grey cine.
    """
    windows, timeline, decoded = _windows(saved, file)
    where = find_device(device)
    model, config = saved.model.to(where), saved.plan.finetune
    parts: dict[Task, list[NDArray[np.float32]]] = {task: [] for task in saved.tasks}
    with torch.inference_mode():
        for start in range(0, len(windows), BATCH):
            batch = to_batch(windows[start : start + BATCH])
            with autocast(where, config.precision):
                outputs = model(*model.inputs(batch, where))
            for task in saved.tasks:
                parts[task].append(to_units(task, outputs[task], config.standardisation))
    return Reading(
        windows={task: np.concatenate(values) for task, values in parts.items()},
        frames=timeline.length,
        fps=decoded.fps,
        notes=tuple(note.reason for note in decoded.notes),
        mirrored=timeline.mirrored,
        first=windows[0],
        attention=_attention(saved, windows[0], where),
    )


def _is_cine(path: Path) -> bool:
    return kind_of(path) in KINDS and not is_mask(path) and path.is_file()


def _windows(saved: SavedModel, file: Path) -> tuple[list[Window], Timeline, Decoded]:
    """Windows that cover the cine, as training decodes and cuts them."""
    if kind_of(file) is Kind.DICOM:
        header = read_header(file)
        if header.kind is not ObjectKind.CINE:
            raise UnreadableFileError(REASONS[header.kind])
    data = saved.plan.data
    decoded = decode_clip(str(file), "own")
    if len(decoded.frames) < data.min_clip_frames:
        raise UnreadableFileError(
            f"The clip has {many(len(decoded.frames), 'frame')}, {data.min_clip_frames} are needed."
        )
    frames, sector = in_square(decoded.frames, decoded.sector, decoded.pixel, data.square)
    timeline = Timeline(
        length=len(frames),
        fps=decoded.fps,
        frames=data.frames,
        seconds=data.window_seconds,
        times=decoded.times,
    )
    picks = timeline.cover(data.test_windows)
    windows = [Window(frames[pick.indices], pick.times, sector) for pick in picks]
    return windows, timeline, decoded


@torch.inference_mode()
def _attention(
    saved: SavedModel, window: Window, device: torch.device
) -> NDArray[np.float32] | None:
    video, _, region = saved.model.inputs(to_batch([window]), device)
    weights = saved.model.attention(video, region)
    return None if weights is None else np.asarray(weights[0].float().cpu().numpy(), np.float32)
