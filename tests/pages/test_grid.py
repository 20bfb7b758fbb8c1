"""Frames as plain tables, and text that neither a terminal nor a page obeys."""

import io
from collections import Counter

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from echofm_core.pages.grid import Grid, grid, printable, terminal_table


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Videos/Zoë 心.avi", "Videos/Zoë 心.avi"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("gpj\u202egnp", "gpj\\u202egnp"),
        ("one\ntwo\t", "one\\ntwo\\t"),
        ("bytes\udcff", "bytes\\udcff"),
        ("", ""),
    ],
)
def test_only_visible_characters_stay(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_grid_of_a_frame() -> None:
    table = pd.DataFrame({"data_set": ["a\x07", None], "clips": [3, 4]})
    assert grid(table) == Grid(
        columns=("data set", "clips"), rows=(("a\\x07", "3"), ("", "4")), numbers=frozenset({1})
    )
    assert grid(table.head(0)) is None


#: Titles that take 4, 16 and 8 columns, and cells below them that take fewer.
TITLES = Grid(columns=("name", "mild to moderate", "moderate"), rows=(("a", "1", "2"),))


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (36, " name   mild to moderate   moderate"),
        (35, "name  mild to moderate  moderate"),
        (33, "name  mild to moderate  moderate"),
        (25, "name  moderate  moderate"),
        (24, "name moderate   moderate"),
        (22, "name moderate moderate"),
    ],
)
def test_titles_of_several_words_do_not_run_together(width: int, line: str) -> None:
    """28 columns of text take 36 with gaps of 3, 33 with 2; then the second title folds before its
    last word, which is in the line that is looked at. Words of 20 take 25 with gaps of 2."""
    console = Console(width=width, file=io.StringIO())
    console.print(terminal_table(TITLES, width))
    lines = map(str.rstrip, console.file.getvalue().splitlines())
    assert line in lines


WORDS = st.lists(st.text(alphabet="aé字", min_size=1, max_size=9), min_size=1, max_size=3).map(
    " ".join
)


@given(
    st.integers(1, 6).flatmap(
        lambda count: st.lists(st.tuples(*[WORDS] * count), min_size=2, max_size=4)
    ),
    st.integers(20, 90),
)
def test_a_terminal_table_fits_and_breaks_words_only_where_they_do_not(
    rows: list[tuple[str, ...]], width: int
) -> None:
    """Longest words and a space between columns are the least that a whole table takes."""
    made = Grid(columns=rows[0], rows=tuple(rows[1:]))
    console = Console(width=width, file=io.StringIO())
    console.print(terminal_table(made, width))
    lines = console.file.getvalue().splitlines()
    columns = list(zip(*rows, strict=True))
    first = max(map(cell_len, columns[0]))
    longest = [max((cell_len(w) for cell in column for w in cell.split()), default=1)
               for column in columns[1:]]  # fmt: skip
    if first + 2 * len(longest) <= width:
        assert max(map(cell_len, lines)) <= width
    word = max((cell_len(word) for cell in columns[0] for word in cell.split()), default=1)
    if word + sum(longest) + len(longest) <= width:
        shown = Counter(" ".join(lines).split())
        wanted = Counter(" ".join(cell for row in rows for cell in row).split())
        assert not wanted - shown


def test_the_first_cell_of_a_line_folds_before_a_word_is_broken() -> None:
    """And not before: with room for the longest words beside it, it stays on its line."""
    table = Grid(
        columns=("metric", "published", "no_pretraining"),
        rows=(("F1 where everybody is called normal", "0.941", "0.889"),),
        numbers=frozenset({1, 2}),
    )
    for width, folded in ((62, False), (50, True)):
        console = Console(file=io.StringIO(), width=width)
        console.print(terminal_table(table, width))
        shown = console.file.getvalue()  # type: ignore[attr-defined]
        assert {"published", "no_pretraining"} <= set(shown.split())
        assert ("F1 where everybody is called normal" not in shown) is folded
