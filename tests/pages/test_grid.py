"""Frames as plain tables, and text that neither a terminal nor a page obeys."""

import pandas as pd
import pytest

from echofm_core.pages.grid import Grid, grid, printable


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
