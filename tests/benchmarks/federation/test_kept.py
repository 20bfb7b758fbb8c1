"""The kept figures of the federation benchmark: all that was asked, and judged as when made."""

from __future__ import annotations

import json

import numpy as np

from benchmarks.federation.__main__ import NOTE
from benchmarks.federation.figures import FILE, load_figures, rows_of
from benchmarks.federation.questions import BARS
from benchmarks.federation.table import table_of


def test_what_is_kept_is_judged_as_it_was_when_it_was_made() -> None:
    """Each bar as it was written, the missed one too; and the page shows these very figures."""
    figures = load_figures()
    assert list(figures.answers["question"]) == [question.value for question in BARS]
    assert set(figures.answers["seeds"]) == {3}
    assert set(figures.scores["seed"]) == {501, 502, 503}
    assert np.isfinite(figures.answers[["value", "low", "high"]].to_numpy()).all()
    written = json.loads(FILE.read_text(encoding="utf-8"))["bars"]
    judged = [row.as_json() for row in rows_of(figures, judge=True)]
    assert [bar["holds"] for bar in written] == [bar["holds"] for bar in judged]
    assert [bar["holds"] for bar in written].count(False) == 1
    page = FILE.with_suffix(".md").read_text(encoding="utf-8")
    assert table_of(figures) in page and NOTE in page


def test_the_page_says_how_each_kind_of_bar_is_judged() -> None:
    """Every limit that a bar has stands in the text, at the end that it is held to."""
    for end, least in set(BARS.values()):
        assert f"{end} end at least {least:g}" in NOTE.lower()


def test_one_model_under_three_names_is_one_line() -> None:
    """TMED-2 alone has grades: it alone, the mean of all sites' models and the row of sites at home
    are its model."""
    grades = table_of(load_figures()).partition("AS macro AUC")[2].splitlines()
    assert grades[1].startswith("  ensemble, tmed2 alone, local  ")
    assert len({line[38:] for line in grades[1:5]}) == 4
