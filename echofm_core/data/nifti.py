"""NIfTI sequences, and the settings file that CAMUS puts beside them."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from echofm_core.errors import UnreadableFileError

_SEQUENCE_NAME = re.compile(r"patient\d+_(2CH|4CH)_(half_sequence\.nii(\.gz)?|sequence\.mhd)")
#: Deflate packs at most this many bytes into one: a header that declares more lies.
DEFLATE = 1032


def read_sequence(file: Path) -> NDArray[np.uint8]:
    """Read a sequence as ``(N, H, W)`` uint8.

    NIfTI holds ``(W, H, T)``, possibly with singleton axes.

    Raises:
        UnreadableFileError: Damaged, or not a sequence of frames.
    """
    try:
        image: Any = nibabel.load(file)
        _check_size(image, file)
        values = np.asanyarray(image.dataobj)
    except UnreadableFileError:
        raise
    except Exception as error:  # gzip, zlib, struct and nibabel each have their own
        raise UnreadableFileError(
            f"a NIfTI file cannot be read ({type(error).__name__})."
        ) from None
    if values.ndim > 3:
        values = values.reshape(*values.shape[:2], -1)
    if values.ndim != 3 or 0 in values.shape:
        raise UnreadableFileError(
            f"a NIfTI file has shape {values.shape}, expected (width, height, frames)."
        )
    return as_grey(values.transpose(2, 1, 0))


def as_grey(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Grey levels 0 to 255 as uint8, whatever number format holds them."""
    if values.dtype != np.uint8:
        values = np.clip(np.nan_to_num(values), 0, 255)
    return np.ascontiguousarray(values, dtype=np.uint8)


def in_order(frames: NDArray[np.uint8], file: Path) -> NDArray[np.uint8]:
    """Frames from end-diastole to end-systole, as the settings beside a CAMUS sequence say."""
    settings = settings_beside(file)
    if settings is not None and systole_first(read_settings(settings)):
        frames = frames[::-1]
    return np.ascontiguousarray(frames)


def _check_size(image: Any, file: Path) -> None:
    """Refuse a header that declares more than the file can hold, before memory is asked for."""
    declared = math.prod(map(int, image.shape)) * image.get_data_dtype().itemsize
    if declared > file.stat().st_size * DEFLATE:
        raise UnreadableFileError("a NIfTI header declares more pixels than its file can hold.")


def sequence_shape(file: Path) -> tuple[int, int, int]:
    """Frames, height and width by the header alone.

    Raises:
        UnreadableFileError: The header cannot be read or is not that of a sequence.
    """
    try:
        image: Any = nibabel.load(file)
        shape = tuple(image.shape)
    except Exception as error:  # as above
        raise UnreadableFileError(
            f"a NIfTI file cannot be read ({type(error).__name__})."
        ) from None
    if len(shape) < 3 or 0 in shape:
        raise UnreadableFileError(f"a NIfTI file has shape {shape}, which is no sequence.")
    return int(np.prod(shape[2:])), int(shape[1]), int(shape[0])


def settings_beside(file: Path) -> Path | None:
    """The ``Info_4CH.cfg`` that belongs to a CAMUS sequence, if this is one."""
    match = _SEQUENCE_NAME.fullmatch(file.name)
    if match is None:
        return None
    settings = file.with_name(f"Info_{match.group(1)}.cfg")
    return settings if settings.is_file() else None


def read_settings(file: Path) -> dict[str, str]:
    """``Key: value`` lines; lines without a colon are ignored, unknown keys kept."""
    return parse_settings(file.read_text(encoding="utf-8", errors="replace"))


def parse_settings(text: str, separator: str = ":") -> dict[str, str]:
    """See :func:`read_settings`; keys and values without surrounding blanks."""
    pairs = (line.split(separator, 1) for line in text.splitlines() if separator in line)
    return {key.strip(): value.strip() for key, value in pairs}


def systole_first(settings: dict[str, str]) -> bool:
    """Does end-systole come before end-diastole (19 of CAMUS's 500 apical four-chamber views)?"""
    try:
        return int(settings["ES"]) < int(settings["ED"])
    except (KeyError, ValueError):
        return False
