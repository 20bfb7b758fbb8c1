"""Plain tables of text, for a page and for a terminal alike."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from pandas.api.types import is_numeric_dtype


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
        numbers=frozenset(place for place, kind in kinds if is_numeric_dtype(kind)),
    )


def printable(text: str) -> str:
    r"""Text with everything that is not a visible character written out, e.g. ``\x1b``.

    File names may hold control characters, which a terminal obeys, and marks that turn the
    direction of reading, which a page obeys.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _written(char) for char in text)


def _written(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def _text(value: object) -> str:
    return "" if pd.isna(value) else printable(str(value))  # type: ignore[call-overload]
