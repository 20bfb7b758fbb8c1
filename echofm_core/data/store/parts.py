"""One clip of a store under construction: decoded by itself into a part file, in any process.

A part holds, one ``.npy`` after the other: sector, frames a second, facts in JSON (content hash,
times, notes), frames.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from echofm_core.data.cine import text_of
from echofm_core.data.config import Square
from echofm_core.data.decode import Decoded, clip_kind, decode_clip, sources
from echofm_core.data.findings import Note, Severity
from echofm_core.data.resize import in_square
from echofm_core.runtime.errors import UnreadableFileError
from echofm_core.runtime.files import whole_file

#: Raised whenever decoding or resizing gives other pixels, so that stores are rebuilt.
PREPROCESSING = 6
#: Folder of the parts, in that of the store; gone when the store is built.
PARTS = "parts"


@dataclass(frozen=True, slots=True)
class Job:
    """What a decoding process needs of a manifest row, and the folder of part files."""

    path: str
    dataset: str
    square: Square
    parts: Path
    known_stamp: str
    """Of the clip in the store being replaced, as is its hash; empty: not there."""
    known_hash: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A decoded clip, but for its pixels: columns of the same names in ``INDEX_COLUMNS``.

    ``fps`` is the container's. Notes are as :func:`write_notes` writes them.
    """

    length: int
    fps: float | None
    content_hash: str
    times: str | None = None
    notes: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of it: kept as it was (``part`` None), decoded, or refused (``kind`` set)."""

    source_hash: str = ""
    stamp: str = ""
    part: Part | None = None
    kind: str = ""
    reason: str = ""


def prepare(job: Job) -> Outcome:
    """Decode one clip unless the store or an interrupted build has it already.

    Raises:
        OSError: The part cannot be written.
    """
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
    place = part_file(job.parts, source_hash)
    part = _intact(place)
    if part is None:
        try:
            decoded = decode_clip(job.path, job.dataset, job.square.size)
        except UnreadableFileError as error:
            return Outcome(kind=error.kind, reason=str(error))
        part = _write(place, decoded, job.square)
    return Outcome(source_hash=source_hash, stamp=stamp, part=part)


def part_file(parts: Path, source_hash: str) -> Path:
    """Where the part of a source lies."""
    return parts / f"{source_hash}.part"


def read_head(stream: BinaryIO) -> tuple[NDArray[np.bool_], Part]:
    """Sector ``(S, S)`` and facts of a part; the stream then stands before its frames' bytes.

    Raises:
        ValueError: This is no whole part.
    """
    sector, fps, facts = (np.load(stream, allow_pickle=False) for _ in range(3))
    content_hash, times, notes = json.loads(facts.item())
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("not a part")
    shape, _, _ = np.lib.format.read_array_header_1_0(stream)
    rate = float(fps) if np.isfinite(fps) else None
    part = Part(length=shape[0], fps=rate, content_hash=content_hash, times=times, notes=notes)
    return sector, part


def write_notes(notes: Sequence[Note]) -> str:
    """Notes as text, which the store's index keeps; "" without."""
    return json.dumps([[note.kind, note.reason, note.severity] for note in notes]) if notes else ""


def read_notes(text: str) -> list[Note]:
    """Notes that :func:`write_notes` wrote."""
    rows = json.loads(text) if text else []
    return [Note(kind, reason, Severity(severity)) for kind, reason, severity in rows]


def _write(place: Path, decoded: Decoded, square: Square) -> Part:
    frames, sector = in_square(decoded.frames, decoded.sector, decoded.pixel, square)
    part = Part(
        length=len(frames),
        fps=decoded.fps,
        content_hash=_content_hash(frames, sector),
        times=text_of(decoded.times),
        notes=write_notes(decoded.notes),
    )
    head = BytesIO()
    np.save(head, sector)
    np.save(head, np.float64(np.nan if part.fps is None else part.fps))
    np.save(head, np.array(json.dumps((part.content_hash, part.times, part.notes)), "S"))
    np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(frames))
    # A cache, read back with its hash. Leftovers go with the folder: listing it takes too long.
    with (
        whole_file(place, durable=False, sweep=False) as partial,
        partial.open("wb") as stream,
    ):
        stream.write(head.getbuffer())
        stream.write(frames.data)
    return part


def _intact(place: Path) -> Part | None:
    """The part that an interrupted build left, unless it was cut short by a power failure."""
    try:
        with place.open("rb") as stream:
            sector, part = read_head(stream)
            frames = np.frombuffer(stream.read(), dtype=np.uint8).reshape(-1, *sector.shape)
    except (OSError, ValueError, TypeError, EOFError):
        return None
    return part if _content_hash(frames, sector) == part.content_hash else None


def _content_hash(frames: NDArray[np.uint8], sector: NDArray[np.bool_]) -> str:
    state = hashlib.sha256(str(frames.shape).encode())
    state.update(np.ascontiguousarray(frames).data)
    state.update(np.packbits(sector).data)
    return state.hexdigest()


def _stamp(files: Sequence[Path]) -> str:
    """Sizes and modification times; while they stand, a file is taken to be unchanged."""
    text = "|".join(f"{file.stat().st_size}:{file.stat().st_mtime_ns}" for file in files)
    return hashlib.sha256(text.encode()).hexdigest()


def _hash(files: Sequence[Path], job: Job) -> str:
    """SHA-256 of the sources' bytes and of what is done to them."""
    kind = clip_kind(job.path) or ""
    state = hashlib.sha256(f"{PREPROCESSING}|{job.square}|{kind[-4:]}".encode())
    for file in files:
        with file.open("rb") as stream:
            state.update(hashlib.file_digest(stream, "sha256").digest())
    return state.hexdigest()
