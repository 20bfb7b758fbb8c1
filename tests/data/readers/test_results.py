"""Results as they are written: numbers and ranges are read, bounds and words give no number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echofm_core.data.readers._results import LONGEST, Form, Result, read_result

UNITS = ("", "%", " %", "ml", " mL", " ml/m2", " cm^2")
numbers = st.decimals(min_value=0, max_value=999, places=2).map(lambda value: f"{value:f}")
units = st.sampled_from(UNITS)
blanks = st.sampled_from(("", " ", "\t"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("55", Result(Form.NUMBER, 55, 55)),
        ("55 %", Result(Form.NUMBER, 55, 55, "%")),
        ("120 mL/m2", Result(Form.NUMBER, 120, 120, "ml/m2")),
        ("-5", Result(Form.NUMBER, -5, -5)),
        ("50-55", Result(Form.NUMBER, 50, 55)),
        ("50% – 55%", Result(Form.NUMBER, 50, 55, "%")),
        ("55 to 60", Result(Form.NUMBER, 55, 60)),
        ("55TO60 %", Result(Form.NUMBER, 55, 60, "%")),
        (">55", Result(Form.OPEN)),
        ("< 20 %", Result(Form.OPEN)),
        ("≥55", Result(Form.OPEN)),
        ("=<20", Result(Form.OPEN)),
        ("55+", Result(Form.OPEN)),
        ("NORMAL", Result(Form.WORDS)),
        ("about 55", Result(Form.WORDS)),
        ("55?", Result(Form.WORDS)),
        ("60-55", Result(Form.WORDS)),
        ("50 ml - 55 %", Result(Form.WORDS)),
        ("50-55-60", Result(Form.WORDS)),
        ("9" * 70, Result(Form.NUMBER, float("9" * 70), float("9" * 70))),
        ("1" * 500, Result(Form.WORDS)),
        ("nan", Result(Form.WORDS)),
        ("", Result(Form.BLANK)),
        ("  ", Result(Form.BLANK)),
    ],
)
def test_what_reports_hold(text: str, expected: Result) -> None:
    assert read_result(text) == expected


@given(numbers, units, blanks)
def test_a_number_is_itself(number: str, unit: str, blank: str) -> None:
    result = read_result(f"{blank}{number}{unit}{blank}")
    expected = unit.strip().lower()
    assert result == Result(Form.NUMBER, float(number), float(number), expected)


@given(numbers, numbers, units, st.sampled_from(("-", " - ", "–", " to ", " TO ")))
def test_a_range_has_its_ends(one: str, other: str, unit: str, between: str) -> None:
    """Downwards it is words: which end is wrong cannot be told."""
    result = read_result(f"{one}{between}{other}{unit}")
    low, high = float(one), float(other)
    if low <= high:
        assert result == Result(Form.NUMBER, low, high, unit.strip().lower())
    else:
        assert result.form is Form.WORDS


@given(st.sampled_from((">", "<", ">=", "<=", "≥", "≤")), blanks, numbers, units)
def test_a_bound_is_no_number(sign: str, blank: str, number: str, unit: str) -> None:
    assert read_result(f"{sign}{blank}{number}{unit}") == Result(Form.OPEN)


@given(st.text(st.characters(categories=("L", "Zs", "Po"), exclude_characters="%"), min_size=1))
def test_words_are_no_number(text: str) -> None:
    assert read_result(text).form in (Form.WORDS, Form.BLANK)


@given(st.text(max_size=2 * LONGEST))
def test_any_text_has_one_form(text: str) -> None:
    result = read_result(text)
    if result.form is Form.NUMBER:
        assert result.low is not None and result.high is not None
        assert result.low <= result.high < float("inf")
    else:
        assert (result.low, result.high, result.unit) == (None, None, "")
