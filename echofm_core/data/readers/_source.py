"""What every reader needs: damaged tables, paths that may lie, labels that may be off."""

from __future__ import annotations

import csv
import gzip
import io
import os
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from echofm_core.data.findings import Findings, Severity
from echofm_core.data.limits import believable_rate
from echofm_core.errors import DataRootError
from echofm_core.tasks import TASKS, Task

#: Numbers from here on, and their inverses, do not fit a column of 32 bits.
LARGEST = 1e30
#: What a table may have: bytes, bytes for each one packed unless it has only a few, and cells,
#: where a row by itself takes the memory of ``PER_ROW`` cells.
MOST_BYTES, PER_BYTE, FEW_BYTES = 2**28, 64, 2**24
MOST_CELLS, PER_ROW = 2**23, 8
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Table:
    """A CSV file as text; ``rows[i]`` is data row i, short rows filled with ""."""

    name: str
    rows: list[dict[str, str]]

    def item(self, row: int) -> str:
        """How a finding names a row, e.g. ``FileList.csv:17``, counted from 0."""
        return f"{self.name}:{row}"


def read_table(file: Path, columns: Sequence[str]) -> Table:
    """Read a CSV, gzipped or not, whatever its order of columns.

    Args:
        file: The table.
        columns: Columns that must be there; names are compared without case and blanks.

    Raises:
        DataRootError: It cannot be read, or lacks a column.
    """
    try:
        data = _content(file)
    except (OSError, EOFError, ValueError, zlib.error) as error:  # a bad gzip file is an OSError
        raise DataRootError(f"table {file.name} cannot be read ({type(error).__name__}).") from None
    return parse_table(file.name, data.decode("utf-8-sig", errors="replace"), columns)


def _content(file: Path) -> bytes:
    """The file, unpacked where it is gzip, whatever its name says.

    Raises:
        DataRootError: It unpacks to more than a table does.
    """
    most = min(MOST_BYTES, max(FEW_BYTES, PER_BYTE * file.stat().st_size))
    with file.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        data = (gzip.GzipFile(fileobj=raw) if packed else raw).read(most + 1)
    if len(data) > most:
        raise DataRootError(
            f"table {file.name} unpacks to more than {most >> 20} MiB, which is read at most."
        )
    return data


def parse_table(name: str, text: str, columns: Sequence[str]) -> Table:
    """See :func:`read_table`."""
    # A NUL byte, or a field without end, is damage that csv would stop at.
    reader = csv.reader(io.StringIO(text.replace("\0", ""), newline=""))
    most = MOST_CELLS // PER_ROW
    try:
        lines = list(islice(filter(None, reader), most))
    except csv.Error as error:
        raise DataRootError(f"table {name} is not CSV ({error}).") from None
    header = [column.strip() for column in lines[0]] if lines else []
    most //= 1 + len(header) // PER_ROW
    if len(lines) >= most:
        raise DataRootError(
            f"table {name} has {len(lines)} rows or more of {len(header)} columns; {most} are "
            "read at most."
        )
    spelt = {wanted.lower(): wanted for wanted in columns}
    header = [spelt.get(column.lower(), column) for column in header]
    if missing := [column for column in columns if column not in header]:
        raise DataRootError(f"table {name} lacks the columns {missing}.")
    rows = [
        {**dict.fromkeys(header, ""), **dict(zip(header, map(str.strip, line), strict=False))}
        for line in lines[1:]
    ]
    return Table(name, rows)


def inside(root: Path, relative: str) -> Path | None:
    """``root / relative`` where that stays below the root, else None.

    A leading slash is dropped: a plain join would leave the root. Links are followed.
    """
    try:
        path = (root / relative.strip().lstrip("/\\")).resolve()
        return path if path.is_relative_to(root.resolve()) else None
    except (OSError, ValueError, RuntimeError):  # NUL byte, name too long, loop of links
        return None


def number(text: str | None) -> float | None:
    """A number that a column can hold, else None; blanks, NA and NaN are None."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if abs(value) < LARGEST else None


def positive(text: str | None) -> float | None:
    """A number above zero that a column can hold, else None."""
    value = number(text)
    return value if value is not None and value > 1 / LARGEST else None


def frame_rate(text: str | None) -> float | None:
    """Frames a second that a scanner can have recorded, else None."""
    return believable_rate(number(text))


def count(text: str | None) -> int | None:
    """A whole number above zero that fits 31 bits, else None."""
    value = integer(text)
    return value if value is not None and value > 0 else None


def integer(text: str | None) -> int | None:
    """A whole number that fits 31 bits, else None."""
    value = number(text)
    return int(value) if value is not None and value == int(value) and abs(value) < 2**31 else None


def label(
    text: str | None, task: Task, dataset: str, item: str, findings: Findings
) -> float | None:
    """A label in its legal range; anything else that is written there is dropped and noted."""
    spec = TASKS[task]
    written = (text or "").strip()
    if written.lower() in ("", "na", "n/a", "none"):
        return None
    value = number(written)
    if value is not None and spec.low <= value <= spec.high:
        return value
    findings.add(
        dataset,
        "label_out_of_range",
        item,
        f"`{spec.column}` is not in [{spec.low:g}, {spec.high:g}] {spec.unit}; the clip is used "
        "without this label.",
        Severity.REPAIRED,
    )
    return None


def usable_file(
    root: Path, relative: str, dataset: str, findings: Findings, item: str | None = None
) -> Path | None:
    """The file at ``root / relative`` where it is there and holds something; else noted and None.

    Args:
        root: Data root that no path may leave.
        relative: As a table has it.
        dataset, findings: Where what is wrong goes.
        item: How a finding names it where that is not ``relative``.
    """
    found = file_at(root, relative)
    if isinstance(found, Path):
        return found
    findings.add(dataset, found.kind, item or relative, found.reason)
    return None


class Refusal(NamedTuple):
    """Why a file cannot be used: kind and reason of the finding."""

    kind: str
    reason: str


def file_at(root: Path, relative: str) -> Path | Refusal:
    """The file at ``root / relative`` where it is there and holds something."""
    path = inside(root, relative)
    if path is None:
        return Refusal("bad_path", "The path leaves the data root.")
    if not _is_text(str(path)):
        return Refusal("bad_name", "The file's name is no text that a table can hold; rename it.")
    # Path.is_file raises where a name is too long.
    if not os.path.isfile(path):  # noqa: PTH113
        return Refusal("missing_file", "Listed, not there.")
    return Refusal("empty_file", "The file is empty.") if is_empty(path) else path


def _is_text(name: str) -> bool:
    """Is a name Unicode, and on one line?"""
    return not any(char in "\r\n" or "\ud800" <= char <= "\udfff" for char in name)


def sex_of(text: str | None) -> str | None:
    """``F`` or ``M`` from ``f``, ``Male`` and the like, else None."""
    letter = (text or "").strip().upper()[:1]
    return letter if letter in ("F", "M") else None


def volumes_in_order(
    labels: dict[str, float | None], dataset: str, item: str, findings: Findings
) -> dict[str, float | None]:
    """Labels ``ef``, ``edv``, ``esv``, all dropped and noted where ESV exceeds EDV."""
    edv, esv = labels["edv"], labels["esv"]
    if edv is None or esv is None or esv <= edv:
        return labels
    reason = "ESV exceeds EDV; the clip is used without volumes and EF."
    findings.add(dataset, "label_out_of_range", item, reason, Severity.REPAIRED)
    return dict.fromkeys(labels)


def is_empty(file: Path) -> bool:
    """Is the file there, but without a byte?"""
    return file.stat().st_size == 0


def safe_name(text: str) -> str:
    """Text as a file name: letters, digits, ``.``, ``_`` and ``-``."""
    return _UNSAFE.sub("_", text).strip("._") or "_"
