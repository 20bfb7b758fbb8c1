"""Tables of any length, row by row: what is in memory does not grow with them."""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from echofm_core.runtime.console import progress
from echofm_core.runtime.errors import DataRootError

#: From this size on, in MB on disk, reading takes seconds and shows its progress.
LARGE = 32
#: Lines between two looks at how far reading is.
LINES = 100_000


def stream_columns(file: Path, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Columns of a CSV, gzipped or not, whatever their order.

    Args:
        file: The table.
        columns: Which; names are compared without case and blanks.

    Yields:
        One text a column, "" where a row is too short to have it.

    Raises:
        DataRootError: The table lacks a column, or cannot be read (on), maybe after some rows.
    """
    try:
        rows = filter(None, csv.reader(_lines(file)))
        names = [name.strip().lower() for name in next(rows, [])]
        if missing := [column for column in columns if column.lower() not in names]:
            raise DataRootError(f"table {file.name} lacks the columns {missing}.")
        places = [names.index(column.lower()) for column in columns]
        for row in rows:
            yield tuple(row[place].strip() if place < len(row) else "" for place in places)
    except (OSError, EOFError, zlib.error, csv.Error) as error:  # a bad gzip file is an OSError
        raise DataRootError(f"table {file.name} cannot be read ({type(error).__name__}).") from None


def _lines(file: Path) -> Iterator[str]:
    size = file.stat().st_size >> 20
    with file.open("rb") as raw:
        text = io.TextIOWrapper(_unpacked(raw), "utf-8-sig", errors="replace", newline="")
        if size < LARGE:
            yield from (line.replace("\0", "") for line in text)
            return
        with progress(f"reading {file.name} (MB)", size) as meter:
            for number, line in enumerate(text):
                if number % LINES == 0 and (more := (raw.tell() >> 20) - meter.done):
                    meter.advance(more)
                yield line.replace("\0", "")
            if meter.done < size:
                meter.advance(size - meter.done)


def _unpacked(raw: BinaryIO) -> BinaryIO | gzip.GzipFile:
    """An open file, unpacked where it is gzip, whatever its name says."""
    packed = raw.read(2) == b"\x1f\x8b"
    raw.seek(0)
    return gzip.GzipFile(fileobj=raw) if packed else raw
