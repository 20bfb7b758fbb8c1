"""Tables as people export them: separators, encodings and packing are found out, not assumed.

:func:`read_table` holds a whole table; :func:`stream_columns` reads one of any length, row by row.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from echofm_core.data.opening import unpacked
from echofm_core.runtime.console import progress
from echofm_core.runtime.errors import DataRootError, refusing

#: What a table may have: bytes, bytes for each one packed unless it has only a few, and cells,
#: where a row by itself takes the memory of ``PER_ROW`` cells.
MOST_BYTES, PER_BYTE, FEW_BYTES = 2**28, 64, 2**24
MOST_CELLS, PER_ROW = 2**23, 8
#: From this size on, in MB on disk, reading row by row takes seconds and shows its progress, once
#: in so many lines.
LARGE, LINES = 32, 100_000
#: What stands between cells, the usual one first, and how it is called.
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
#: What a spreadsheet writes into the first line to say which one it is.
_STATED = re.compile(r"\A\s*\"?sep=([,;\t|])\"?\r?\n", re.IGNORECASE)
#: First bytes of a text's encoding, and of what is no text.
_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")


@dataclass(frozen=True, slots=True)
class Table:
    """A table as text; ``rows[i]`` is data row i, short rows filled with "".

    Attributes:
        name: Of the file.
        rows: Column -> cell.
        form: How it departs from UTF-8 with commas, in words; empty: it does not.
    """

    name: str
    rows: list[dict[str, str]]
    form: tuple[str, ...] = ()

    def item(self, row: int) -> str:
        """How a finding names a row, e.g. ``FileList.csv:17``, counted from 0."""
        return f"{self.name}:{row}"


def read_table(file: Path, columns: Sequence[str], maybe: Sequence[str] = ()) -> Table:
    """Read a table, gzipped or not, whatever its order of columns.

    Cells are separated by commas, semicolons, tabs or vertical bars; text is UTF-8, UTF-16 or
    Windows-1252 (of which Latin-1 is a part).

    Args:
        file: The table.
        columns: Columns that must be there; names are compared without case and blanks.
        maybe: Columns that need not be there, likewise.

    Raises:
        DataRootError: It cannot be read, is a workbook, or lacks a column or has it twice.
    """
    with refusing(f"table {file.name} cannot be read", DataRootError):
        data = _content(file)
    if data.startswith(_WORKBOOKS):
        raise DataRootError(
            f"table {file.name} is a workbook, not text; save its sheet as CSV (UTF-8)."
        )
    text, encoding = _decoded(data)
    return parse_table(file.name, text, columns, encoding, maybe)


def _content(file: Path) -> bytes:
    """The file, unpacked where it is gzip, whatever its name says.

    Raises:
        DataRootError: It unpacks to more than a table does.
    """
    most = min(MOST_BYTES, max(FEW_BYTES, PER_BYTE * file.stat().st_size))
    with file.open("rb") as raw:
        data = unpacked(raw).read(most + 1)
    if len(data) > most:
        raise DataRootError(
            f"table {file.name} unpacks to more than {most >> 20} MiB, which is read at most."
        )
    return data


def _decoded(data: bytes) -> tuple[str, str]:
    """Text, and the name of its encoding."""
    if encoding := _MARKS.get(data[:2]):
        return data.decode("utf-16", errors="replace"), encoding
    # Latin letters of UTF-16 without a mark have a zero byte each.
    start = data[:1024]
    for odd, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        if len(start) > 3 and start[odd::2].count(0) > 0.4 * len(start[odd::2]):
            return data.decode(name, errors="replace"), "UTF-16"
    text = data.decode("utf-8-sig", errors="replace")
    bad = text.count("\ufffd")
    # A few bad letters among good ones are damage; hardly any good one is another encoding.
    if bad and bad >= sum(char > "\x7f" for char in text) - bad:
        return data.decode("cp1252", errors="replace"), "Windows-1252 (Latin-1)"
    return text, "UTF-8"


def parse_table(
    name: str,
    text: str,
    columns: Sequence[str],
    encoding: str = "UTF-8",
    maybe: Sequence[str] = (),
) -> Table:
    """A table from its text; see :func:`read_table`.

    Raises:
        DataRootError: It is no table, has too many rows, or lacks a column or has it twice.
    """
    # A NUL byte, or a field without end, is damage that csv would stop at.
    text = text.replace("\0", "")
    separator, text = _separator(name, text, columns)
    lines = _lines(name, text, separator)
    header = _header(lines[0] if lines else [], (*columns, *maybe))
    if missing := [column for column in columns if column not in header]:
        raise DataRootError(
            f"table {name} lacks the columns {missing}; its first line was read as {len(header)} "
            f"cells between {SEPARATORS[separator]}, as {encoding} text."
        )
    if twice := [column for column in dict.fromkeys(columns) if header.count(column) > 1]:
        raise DataRootError(f"table {name} has the columns {twice} twice; rename one of each.")
    rows = [
        {**dict.fromkeys(header, ""), **dict(zip(header, map(str.strip, line), strict=False))}
        for line in lines[1:]
    ]
    form = [f"{SEPARATORS[separator]} between cells"] if separator != "," else []
    form += [f"{encoding} text"] if encoding != "UTF-8" else []
    return Table(name, rows, tuple(form))


def _separator(name: str, text: str, columns: Sequence[str]) -> tuple[str, str]:
    """What separates cells, and the text without the line that says so.

    The first one by which the header has every column; of those by which it lacks some, the one
    that gives most cells.
    """
    if stated := _STATED.match(text):
        return stated[1], text[stated.end() :]
    headers = {
        separator: _header(next(iter(_lines(name, text, separator, 1)), []), columns)
        for separator in SEPARATORS
    }
    whole = (found for found, header in headers.items() if set(columns) <= set(header))
    return next(whole, max(headers, key=lambda found: len(headers[found]))), text


def _header(line: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Names of the columns, those that are wanted as they are spelt there."""
    spelt = {_plain(wanted): wanted for wanted in columns}
    return [spelt.get(_plain(column), column.strip()) for column in line]


def _plain(column: str) -> str:
    return unicodedata.normalize("NFC", column).strip().lower()


def _lines(name: str, text: str, separator: str, wanted: int | None = None) -> list[list[str]]:
    """Lines in which something is written, or the first few of them.

    Spreadsheets leave separators alone in lines below the last one, and between blocks.

    Raises:
        DataRootError: It is no table, or has more rows than are read.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    most = MOST_CELLS // PER_ROW
    try:
        written = (line for line in reader if any(cell.strip() for cell in line))
        lines = list(islice(written, wanted or most))
    except csv.Error as error:
        raise DataRootError(f"table {name} is not CSV ({error}).") from None
    width = len(lines[0]) if lines else 0
    most //= 1 + width // PER_ROW
    if len(lines) >= most and wanted is None:
        raise DataRootError(
            f"table {name} has {len(lines)} rows or more of {width} columns; {most} are read at "
            "most."
        )
    return lines


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
    with refusing(f"table {file.name} cannot be read", DataRootError):
        rows = filter(None, csv.reader(_streamed(file)))
        names = [name.strip().lower() for name in next(rows, [])]
        if missing := [column for column in columns if column.lower() not in names]:
            raise DataRootError(f"table {file.name} lacks the columns {missing}.")
        found = [names.index(column.lower()) for column in columns]
        for row in rows:
            yield tuple(row[index].strip() if index < len(row) else "" for index in found)


def _streamed(file: Path) -> Iterator[str]:
    size = file.stat().st_size >> 20
    with file.open("rb") as raw:
        text = io.TextIOWrapper(unpacked(raw), "utf-8-sig", errors="replace", newline="")
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
