"""Arrays of a waiting message on disk instead of in memory.

An early reply waits here until its turn; the in-process engine hands weights to its workers the
same way. What is read back is a view of a memory map, so pages come in only while they are summed.
"""

import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from flwr.app import Array, ArrayRecord, RecordDict


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


def park(content: RecordDict, path: Path) -> Parked:
    """Write all arrays of a content, which is left as it is, to one new file."""
    slots = []
    with path.open("wb", buffering=0) as file:
        for key, record in content.array_records.items():
            for name, array in record.items():
                view = memoryview(array.data)
                while view:
                    view = view[file.write(view) :]
                slots.append(Slot(key, name, array.dtype, tuple(array.shape), len(array.data)))
    return Parked(slots, path)


def unpark(parked: Parked) -> dict[str, ArrayRecord]:
    """Array records whose bytes are a read-only memory map of the file.

    The file may be deleted once this returns; its bytes stay as long as the records do.
    """
    records = {slot.record: ArrayRecord() for slot in parked.slots}
    with parked.path.open("rb") as file:
        view = mapped(file)
    for slot in parked.slots:
        array = Array(slot.dtype, slot.shape, "numpy.ndarray", b"")
        # Every reader of Array.data takes any buffer; only its constructor insists on bytes.
        array.data = view[: slot.length]  # type: ignore[assignment]
        view = view[slot.length :]
        records[slot.record][slot.name] = array
    return records


def mapped(file: IO[bytes]) -> memoryview:
    """A whole file as a read-only memory map, which outlives the file's name."""
    size = os.fstat(file.fileno()).st_size
    return memoryview(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) if size else b"")


def without_arrays(content: RecordDict) -> RecordDict:
    """The other records of a content, shared, not copied."""
    arrays = content.array_records
    return RecordDict({key: record for key, record in content.items() if key not in arrays})


def swap_arrays(content: RecordDict, path: Path) -> RecordDict:
    """The same content with its arrays on disk; the file has no name any more."""
    records = unpark(park(content, path))
    path.unlink()
    return RecordDict({**without_arrays(content), **records})


def scratch_path(folder: Path, name: str) -> Path:
    """A name in an existing folder that no other process or thread uses."""
    return folder / f".{name}.{os.getpid()}.{os.urandom(6).hex()}"
