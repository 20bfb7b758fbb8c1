"""Plain tables of text, for a page and for a terminal alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import pandas as pd
from pandas.api.types import is_numeric_dtype
from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

#: Columns between two cells on a terminal, the most that there is room for.
GAPS = (3, 2, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """A plain table: column titles, rows of printable values, columns that hold numbers."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[int] = frozenset()


def grid(table: pd.DataFrame) -> Grid | None:
    """A frame as a grid, missing values empty; None where it has no rows."""
    if table.empty:
        return None
    kinds = enumerate(table.dtypes)
    return Grid(
        columns=tuple(str(column).replace("_", " ") for column in table.columns),
        rows=tuple(tuple(map(_text, row)) for row in table.itertuples(index=False, name=None)),
        numbers=frozenset(column for column, kind in kinds if is_numeric_dtype(kind)),
    )


def terminal_table(
    grid: Grid, width: int, styles: Mapping[str, str] = MappingProxyType({})
) -> Table:
    """A grid as a table for a terminal of so many columns; its text is neither markup nor control.

    Where it does not fit, the gaps shrink and then cells fold between words, but for the first of a
    line: it says what the line is about. Titles of several words keep two columns between them, as
    they would read as one. Where words would be broken the first cell folds too, and where they do
    not fit even so, they are broken. A cell that is a key of ``styles`` is shown in that style.
    """
    columns = list(zip(grid.columns, *grid.rows, strict=True))
    cells = [max(map(cell_len, column)) for column in columns]
    # One space between titles that hold spaces would be no gap.
    least = 2 if any(" " in title for title in grid.columns[1:]) else 1
    fitting = (gap for gap in GAPS if gap >= least and _taken(cells, gap) <= width)
    widths, gap, folds = cells, next(fitting, 0), False
    if not gap:
        words = [cells[0], *map(_longest_word, columns[1:])]
        if _taken(words, 1) > width:
            fewest = [_longest_word(columns[0]), *words[1:]]
            folds = _taken(fewest, 1) <= width
            words = fewest if folds else words
        gap = least if _taken(words, least) <= width else 1
        widths = _widths(words, cells, width - _taken([0] * len(words), gap))
    padding = (0, int(gap > 1), 0, int(gap > 2))  # beside the one column that the box takes
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=padding)
    for column, name in enumerate(grid.columns):
        side: Literal["left", "right"] = "right" if column in grid.numbers else "left"
        one_line = column == 0 and not folds
        table.add_column(
            Text(name), justify=side, overflow="fold", no_wrap=one_line, width=widths[column]
        )
    for row in grid.rows:
        table.add_row(*(Text(cell, style=styles.get(cell, "")) for cell in row))
    return table


def _taken(widths: Sequence[int], gap: int) -> int:
    """What columns of these widths take together; a half of a gap is at each edge."""
    return sum(widths) + gap * len(widths) - 1


def _longest_word(column: Sequence[str]) -> int:
    return max(map(cell_len, " ".join(column).split()), default=1)


def _widths(words: Sequence[int], cells: Sequence[int], width: int) -> list[int]:
    """Columns that take ``width`` together: the longest word of each, then what is left in turn."""
    widths = list(words)
    while sum(widths) > width and max(widths[1:], default=1) > 1:
        widest = max(range(1, len(widths)), key=widths.__getitem__)
        widths[widest] -= 1
    while sum(widths) < width and widths != list(cells):
        narrow = [column for column, wanted in enumerate(cells) if widths[column] < wanted]
        widths[min(narrow, key=widths.__getitem__)] += 1
    return widths


def printable(text: str) -> str:
    r"""Text with everything that is not a visible character written out, e.g. ``\x1b``.

    File names may hold control characters, which a terminal obeys, and marks that turn the
    direction of reading, which a page obeys.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def _text(value: object) -> str:
    return "" if pd.isna(value) else printable(str(value))  # type: ignore[call-overload]
