"""Plain tables on a terminal, however narrow."""

from __future__ import annotations

from typing import Literal

from rich import box
from rich.table import Table
from rich.text import Text

from echofm_core.pages.grid import Grid

#: Columns that a cell takes beside its text, where there is room.
GAP = 3


def terminal_table(grid: Grid, width: int) -> Table:
    """A grid as a table for a terminal of so many columns; its text is neither markup nor control.

    Where it does not fit, the gaps shrink and then cells fold, but for the first of a line: it says
    what the line is about.
    """
    cells = [max(map(len, column)) for column in zip(grid.columns, *grid.rows, strict=True)]
    pad = 1 if sum(cells) + GAP * len(cells) <= width else 0
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, pad))
    for place, name in enumerate(grid.columns):
        side: Literal["left", "right"] = "right" if place in grid.numbers else "left"
        table.add_column(Text(name), justify=side, overflow="fold", no_wrap=place == 0)
    for row in grid.rows:
        table.add_row(*map(Text, row))
    return table
