"""One clip of a store under construction: decoded by itself into a part file, in any process."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echofm_core.data.decode import decode_clip, sources
from echofm_core.data.resize import letterbox, letterbox_mask
from echofm_core.errors import UnreadableFileError

#: Raised whenever decoding or resizing gives other pixels, so that stores are rebuilt.
PREPROCESSING = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What a decoding process is told.

    Attributes:
        path, dataset: Of the manifest row.
        size: Side of the stored frames.
        parts: Folder of part files.
        known_stamp, known_hash: Of the clip in the store being replaced; empty: not there.
    """

    path: str
    dataset: str
    size: int
    parts: Path
    known_stamp: str
    known_hash: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of it: kept as it was (``part`` None), decoded, or refused (``kind`` set)."""

    source_hash: str = ""
    stamp: str = ""
    part: Path | None = None
    kind: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A decoded clip: ``frames (N, S, S)`` uint8, ``sector (S, S)`` bool, fps or None, hash."""

    frames: NDArray[np.uint8]
    sector: NDArray[np.bool_]
    fps: float | None
    content_hash: str


def prepare(job: Job) -> Outcome:
    """Decode one clip unless the store or an interrupted build has it already."""
    try:
        files = sources(job.path)
        stamp = _stamp(files)
        if stamp == job.known_stamp:
            return Outcome(source_hash=job.known_hash, stamp=stamp)
        source_hash = _hash(files, job)
    except FileNotFoundError:
        return Outcome(kind="missing_file", reason="The file is not there.")
    except UnreadableFileError as error:
        return Outcome(kind="undecodable", reason=str(error))
    except OSError as error:
        return Outcome(kind="unreadable_file", reason=f"The file cannot be read: {error.strerror}.")
    if source_hash == job.known_hash:
        return Outcome(source_hash=source_hash, stamp=stamp)
    part = job.parts / f"{source_hash}.npz"
    if not part.is_file():
        try:
            decoded = decode_clip(job.path, job.dataset)
        except UnreadableFileError as error:
            return Outcome(kind="undecodable", reason=str(error))
        sector = letterbox_mask(decoded.sector, job.size)
        frames = np.where(sector, letterbox(decoded.frames, job.size), np.uint8(0))
        _write(part, frames, sector, decoded.fps)
    return Outcome(source_hash=source_hash, stamp=stamp, part=part)


def load(part: Path) -> Part:
    """Read a part file."""
    with np.load(part, allow_pickle=False) as arrays:
        frames, sector, fps = arrays["frames"], arrays["sector"], float(arrays["fps"])
    content = hashlib.sha256(str(frames.shape).encode())
    content.update(np.ascontiguousarray(frames).data)
    content.update(np.packbits(sector).data)
    return Part(frames, sector, fps if np.isfinite(fps) else None, content.hexdigest())


def _write(
    part: Path, frames: NDArray[np.uint8], sector: NDArray[np.bool_], fps: float | None
) -> None:
    partial = part.with_name(f".{part.stem}.{os.getpid()}")
    with partial.open("wb") as stream:
        np.savez(
            stream, frames=frames, sector=sector, fps=np.float64(np.nan if fps is None else fps)
        )
    partial.replace(part)


def _stamp(files: list[Path]) -> str:
    """Sizes and modification times; while they stand, a file is taken to be unchanged."""
    text = "|".join(f"{file.stat().st_size}:{file.stat().st_mtime_ns}" for file in files)
    return hashlib.sha256(text.encode()).hexdigest()


def _hash(files: list[Path], job: Job) -> str:
    """SHA-256 of the sources' bytes and of what is done to them."""
    state = hashlib.sha256(f"{PREPROCESSING}|{job.size}|{job.path.lower()[-4:]}".encode())
    for file in files:
        with file.open("rb") as stream:
            state.update(hashlib.file_digest(stream, "sha256").digest())
    return state.hexdigest()
