"""A hospital's table: which row is about which file, and what its numbers mean.

Tables come out of spreadsheets in every country: what can be read without a guess is read, and what
cannot is named in a finding. The table's own words never are in one.
"""

import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from echofm_core.data.readers._source import LIKE_A_FRACTION, Source, disagreement, number
from echofm_core.data.readers._tables import read_table
from echofm_core.data.readers.mapping import Fractions, Mapping
from echofm_core.runtime.text import many

#: How findings name the table; its real name may tell something.
TABLE = "table"
#: Columns of numbers that have decimals.
NUMBERS = ("fps", "depth_cm", "frequency_mhz", "gain_db", "age", "ef", "edv", "esv")
#: Columns that say one thing.
STENOSIS = {"as_grade", "as_class"}
_COMMA = re.compile(r"([+-]?[0-9]+),([0-9]+)(?=\s*([^0-9.,]|\Z))")
_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}\s*")

#: A row by manifest column.
Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """A file below the root, the values of its row, and that row's number, from 0."""

    relative: str
    values: Row
    row: int | None = None


def read_entries(
    source: Source, mapping: Mapping, there: Sequence[str], item: Callable[[str], str]
) -> list[Entry]:
    """Files of the table in its order, and findings on what it says.

    Args:
        there: Recordings below the root, relative to it.
        item: How findings name a file.

    Raises:
        DataRootError: The table cannot be read, or lacks a mapped column.
    """
    table = read_table(source.root / mapping.table, tuple(mapping.columns.values()))
    rows = [{ours: row[theirs] for ours, theirs in mapping.columns.items()} for row in table.rows]
    commas = [name for name in NUMBERS if _with_points(rows, name)]
    form = [*table.form, *(f"decimal commas in `{name}`" for name in commas)]
    if form:
        reason = f"The table was read as having {', '.join(form)}."
        source.noted("table_form", TABLE, reason)
    _in_percent(rows, mapping.units.ef, source)
    if pathless := sum(not row["path"] for row in rows):
        reason = f"{many(pathless, 'row names', 'rows name')} no file."
        source.quarantined("bad_path", TABLE, reason)
    named = _named(rows, there, source)
    entries = []
    for relative, numbers in named.items():
        mine = [rows[number] for number in numbers]
        # The first value that is written, of each column.
        values = {name: next(filter(None, (row[name] for row in mine)), "") for name in mine[0]}
        differ = sorted({column for row in mine for column in _differ(values, row)})
        if STENOSIS & set(differ):  # of a grade that is kept the class would follow
            differ = sorted({*differ, *(STENOSIS & values.keys())})
        if "patient_id" in differ:
            reason = "Rows about one file name different patients; the clip is not used."
            source.quarantined("rows_disagree", item(relative), reason)
            continue
        if differ:
            source.repaired("rows_disagree", item(relative), disagreement(differ))
        elif len(numbers) > 1:
            reason = "The file is listed twice, and the rows agree; it is used once."
            source.quarantined("duplicate_row", item(relative), reason)
        entries.append(Entry(relative, {**values, **dict.fromkeys(differ, "")}, numbers[0]))
    for relative in there:
        if relative not in named:
            reason = "The file is not in the table, so it has no patient."
            source.quarantined("unlisted_file", item(relative), reason)
    return entries


def _with_points(rows: list[Row], column: str) -> bool:
    """Turn decimal commas of a column into points; tells whether there were any.

    A comma before three digits is one only where no cell of the column has a point: else it may
    stand for thousands.
    """
    cells = [row.get(column, "") for row in rows]
    points = any("." in cell for cell in cells)
    changed = False
    for row, cell in zip(rows, cells, strict=True):
        if _COMMA.match(cell) and not (points and _THOUSANDS.match(cell)):
            row[column], changed = _COMMA.sub(r"\1.\2", cell), True
    return changed


def _in_percent(rows: list[Row], unit: Fractions | None, source: Source) -> None:
    """Turn fractions into percent where the mapping says so; guess of no column that it is %."""
    cells = [(row, value) for row in rows if (value := number(row.get("ef"))) is not None]
    if unit is Fractions.FRACTION:
        for row, value in cells:
            row["ef"] = f"{100 * value:.10g}"
    elif unit is None and cells and all(0 <= value <= 1 for _, value in cells):
        for row, _ in cells:
            row["ef"] = ""
        reason = (
            f"{many(len(cells), 'value')} of `ef`, all between 0 and 1: that looks like "
            "fractions, not like %. The clips are used without EF; say "
            '`ef = "fraction"` or `ef = "percent"` under [units] in echofm.toml.'
        )
        source.repaired(LIKE_A_FRACTION, TABLE, reason)


def _named(rows: list[Row], there: Sequence[str], source: Source) -> dict[str, list[int]]:
    """File -> numbers of the rows that are about it, in the order of the table.

    Spreadsheets and file systems change capitals and Unicode forms; where one file alone fits, it
    is meant.
    """
    known, alike = set(there), defaultdict[str, list[str]](list)
    for relative in there:
        alike[_key(relative)].append(relative)
    named, respelt = defaultdict[str, list[int]](list), 0
    for number_, row in enumerate(rows):
        if not row["path"]:
            continue
        written = row["path"].replace("\\", "/").lstrip("/")
        fits = alike.get(_key(written), [])
        if written not in known and len(fits) == 1:
            respelt += posixpath.normpath(written) != fits[0]
            written = fits[0]
        named[written].append(number_)
    if respelt:
        reason = (
            f"{many(respelt, 'row writes', 'rows write')} a path in other capitals or another "
            "Unicode form than the file has; the one file that fits was taken."
        )
        source.repaired("path_spelling", TABLE, reason)
    return named


def _key(path: str) -> str:
    return unicodedata.normalize("NFC", posixpath.normpath(path)).casefold()


def _differ(values: Row, row: Row) -> list[str]:
    """Columns, but for the path, in which a row says something else."""
    return [
        column
        for column, value in values.items()
        if column != "path" and row[column] and not _equal(value, row[column])
    ]


def _equal(one: str, other: str) -> bool:
    value = number(one)
    return one.lower() == other.lower() or (value is not None and value == number(other))
