"""Arrays of a waiting message on disk instead of in memory.

An early reply waits here until its turn; the in-process engine hands weights to its workers the
same way. What is read back is a view of a memory map, so pages come in only while they are summed.
"""

import mmap
import os
from dataclasses import dataclass
from pathlib import Path

from flwr.app import Array, ArrayRecord, RecordDict


@dataclass(frozen=True, slots=True)
class Slot:
    """Where one array lies in the file: its type, shape, first byte and length."""

    record: str
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    length: int


def park(content: RecordDict, path: Path) -> list[Slot]:
    """Write all arrays of a content to one file.

    Args:
        content: Left as it is.
        path: New file; its bytes are the arrays', one after the other.

    Returns:
        What :func:`unpark` needs.
    """
    slots, start = [], 0
    with path.open("wb", buffering=0) as file:
        for key, record in content.array_records.items():
            for name, array in record.items():
                view = memoryview(array.data)
                while view:
                    view = view[file.write(view) :]
                length = len(array.data)
                slots.append(Slot(key, name, array.dtype, tuple(array.shape), start, length))
                start += length
    return slots


def unpark(slots: list[Slot], path: Path) -> dict[str, ArrayRecord]:
    """Array records whose bytes are a read-only memory map of a parked file.

    The file may be deleted once this returns; its bytes stay as long as the records do.
    """
    records: dict[str, ArrayRecord] = {slot.record: ArrayRecord() for slot in slots}
    size = path.stat().st_size
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) if size else b""
    view = memoryview(mapped)
    for slot in slots:
        array = Array(slot.dtype, slot.shape, "numpy.ndarray", b"")
        # Every reader of Array.data takes any buffer; only its constructor insists on bytes.
        array.data = view[slot.start : slot.start + slot.length]  # type: ignore[assignment]
        records[slot.record][slot.name] = array
    return records


def without_arrays(content: RecordDict) -> RecordDict:
    """The other records of a content, shared, not copied."""
    arrays = content.array_records
    return RecordDict({key: record for key, record in content.items() if key not in arrays})


def swap_arrays(content: RecordDict, path: Path) -> RecordDict:
    """The same content with its arrays on disk; the file has no name any more."""
    slots = park(content, path)
    records = unpark(slots, path)
    path.unlink()
    return RecordDict({**without_arrays(content), **records})


def scratch_path(folder: Path, name: str) -> Path:
    """A name in an existing folder that no other process or thread uses."""
    return folder / f".{name}.{os.getpid()}.{os.urandom(6).hex()}"
