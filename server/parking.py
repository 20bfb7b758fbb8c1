"""Arrays of a waiting message on disk instead of in memory.

An early reply waits here until its turn; the in-process engine hands weights to its workers the
same way. What comes back from a file of its own is a view of a memory map, so that pages come in
only while they are summed.
"""

import itertools
import mmap
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from flwr.app import Array, ArrayRecord, RecordDict

from echofm_core.runtime.errors import EngineError


@dataclass(frozen=True, slots=True)
class Slot:
    """One array of a file: where it belongs, its type, its shape and its length in bytes."""

    record: str
    name: str
    dtype: str
    shape: tuple[int, ...]
    length: int


@dataclass(frozen=True)
class Parked:
    """All arrays of a content in one file, one after the other."""

    slots: list[Slot]
    path: Path


class Shelf:
    """Contents that wait in one nameless file, so that any number of them is one open file.

    Args:
        folder: Where the file lies.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115

    def put(self, content: RecordDict) -> Callable[[], RecordDict]:
        """Write a content's arrays; what is returned reads the content again.

        Into memory that earlier replies have left: pages of a map would come on top of it.
        """
        start, rest = self._file.tell(), without_arrays(content)
        slots = list(_write(content, self._file))
        return lambda: RecordDict({**rest, **records_of(slots, self._read(slots, start))})

    def _read(self, slots: Sequence[Slot], start: int) -> Iterator[memoryview]:
        for slot in slots:
            buffer = np.empty(slot.length, np.uint8).data
            done = 0
            while done < slot.length:
                found = os.preadv(self._file.fileno(), [buffer[done:]], start + done)
                if not found:
                    raise EngineError("a reply that waited on disk is cut off.")
                done += found
            start += slot.length
            yield buffer


def park(content: RecordDict, path: Path) -> Parked:
    """Write all arrays of a content, which is left as it is, to one new file."""
    with path.open("wb", buffering=0) as file:
        return Parked(list(_write(content, file)), path)


def unpark(parked: Parked) -> dict[str, ArrayRecord]:
    """Array records whose bytes are a read-only memory map of the file.

    The file may be deleted once this returns; its bytes stay as long as the records do.
    """
    with parked.path.open("rb") as file:
        view = mapped(file)
    ends = itertools.accumulate(slot.length for slot in parked.slots)
    pieces = (view[end - slot.length : end] for slot, end in zip(parked.slots, ends, strict=True))
    return records_of(parked.slots, pieces)


def pieces_of(content: RecordDict) -> Iterator[tuple[Slot, memoryview]]:
    """All arrays of a content, with their bytes, which are not copied."""
    for key, record in content.items():
        for name, array in record.items() if isinstance(record, ArrayRecord) else ():
            slot = Slot(key, name, array.dtype, tuple(array.shape), len(array.data))
            yield slot, memoryview(array.data)


def _write(content: RecordDict, file: IO[bytes]) -> Iterator[Slot]:
    """Append all arrays of a content to an unbuffered file."""
    for slot, view in pieces_of(content):
        while view:
            view = view[file.write(view) :]
        yield slot


def records_of(slots: Sequence[Slot], pieces: Iterable[memoryview]) -> dict[str, ArrayRecord]:
    """Array records of what was written; ``pieces`` are the bytes of each array."""
    records = {slot.record: ArrayRecord() for slot in slots}
    for slot, piece in zip(slots, pieces, strict=True):
        array = Array(slot.dtype, slot.shape, "numpy.ndarray", b"")
        # Every reader of Array.data takes any buffer; only its constructor insists on bytes.
        array.data = piece  # type: ignore[assignment]
        records[slot.record][slot.name] = array
    return records


def mapped(file: IO[bytes]) -> memoryview:
    """A whole file as a read-only memory map, which outlives the file's name."""
    size = os.fstat(file.fileno()).st_size
    return memoryview(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) if size else b"")


def without_arrays(content: RecordDict) -> RecordDict:
    """The other records of a content, and array records without an array; shared, not copied."""
    kept = {k: it for k, it in content.items() if not isinstance(it, ArrayRecord) or not it}
    return RecordDict(kept)


def swap_arrays(content: RecordDict, path: Path) -> RecordDict:
    """The same content with its arrays on disk; the file has no name any more."""
    records = unpark(park(content, path))
    path.unlink()
    return RecordDict({**without_arrays(content), **records})


def scratch_path(folder: Path, name: str) -> Path:
    """A name in an existing folder that no other process or thread uses."""
    return folder / f".{name}.{os.getpid()}.{os.urandom(6).hex()}"
