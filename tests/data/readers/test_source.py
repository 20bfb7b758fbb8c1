from __future__ import annotations

import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echofm_core.data.readers._source import (
    Source,
    inside,
    integer,
    number,
    positive,
    safe_name,
)
from echofm_core.data.readers.camus import parse_split
from echofm_core.tasks import Task


@settings(max_examples=200)
@given(st.lists(st.sampled_from(["..", ".", "a", "", "/", "b c", "\0", "~"]), max_size=6))
def test_no_path_leaves_the_root(parts: list[str]) -> None:
    root = Path("/data/root")
    path = inside(root, "/".join(parts))
    assert path is None or path.is_relative_to(root)


def test_leading_slash_and_links(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "secret").write_text("x")
    (tmp_path / "root" / "link").symlink_to(tmp_path / "secret")
    root = tmp_path / "root"
    assert inside(root, "/a/b.png") == root / "a" / "b.png"
    assert inside(root, "../secret") is None
    assert inside(root, "link") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [("1.5", 1.5), ("", None), ("NA", None), ("nan", None), ("inf", None), ("1e400", None)],
)
def test_numbers(text: str, value: float | None) -> None:
    assert number(text) == value
    assert positive(text) == value
    assert positive("-1") is None
    assert integer("12.0") == 12
    assert integer("12.5") is integer("1e20") is integer(None) is None


@given(st.text(max_size=12) | st.floats().map(str))
def test_a_label_is_legal_or_null(text: str) -> None:
    source = Source("d", Path())
    value = source.label(text, Task.EF, "row")
    assert value is None or 0 <= value <= 100
    assert len(source.findings.items) <= (value is None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("101", "not in [0, 100] %"),
        ("-1", "not in [0, 100] %"),
        ("nan", "no number"),
        ("many", "no number"),
        ("50-55", "a range"),
        (">54", "a bound"),
        ("55 ml", "another unit than %"),
        ("1,055", "no number"),  # a thousand or one: nobody can tell
    ],
)
def test_an_illegal_label_is_noted_in_words(text: str, words: str) -> None:
    source = Source("d", Path())
    assert source.label(text, Task.EF, "t.csv:3") is None
    (found,) = source.findings.items
    assert (found.kind, found.item) == ("label_out_of_range", "t.csv:3")
    assert words in found.reason
    assert text not in found.reason


@pytest.mark.parametrize(
    ("text", "words"),
    [("1.5", "no whole number"), ("none", "no number"), ("early", "no number"), ("3", "[0, 2]")],
)
def test_a_class_is_its_number_or_is_noted(text: str, words: str) -> None:
    """`none` may be the name of class 0, and is never dropped without a word."""
    source = Source("d", Path())
    assert source.label(text, Task.AS_CLASS, "row") is None
    (found,) = source.findings.items
    assert words in found.reason
    assert source.label("NA", Task.AS_CLASS, "row") is None
    assert source.label("2.0", Task.AS_CLASS, "row") == 2
    assert len(source.findings.items) == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [("55.5", 55.5), ("55,5", 55.5), ("55.5%", 55.5), ("55,5 %", 55.5), ("5.55e1", 55.5)],
)
def test_a_label_is_read_as_people_write_it(text: str, value: float) -> None:
    source = Source("d", Path())
    assert source.label(text, Task.EF, "row") == pytest.approx(value)
    assert not source.findings.items


def test_volumes_come_with_their_unit_or_without() -> None:
    source = Source("d", Path())
    for text in ("120", "120 ml", "120,0 mL", "120 cc"):
        assert source.label(text, Task.EDV, "row") == 120
    assert not source.findings.items


@pytest.mark.parametrize("text", ["0.555", "0,555", "1", "0"])
def test_an_ejection_fraction_up_to_one_is_not_taken_for_percent(text: str) -> None:
    source = Source("d", Path())
    assert source.label(text, Task.EF, "row") is None
    assert [item.kind for item in source.findings.items] == ["looks_like_fraction"]
    said = source.label(text, Task.EF, "row", in_unit=True)
    assert said == pytest.approx(float(text.replace(",", ".")))


@given(st.text(max_size=40))
def test_safe_names_are_safe(text: str) -> None:
    name = safe_name(text)
    assert name
    assert set(name) <= set(string.ascii_letters + string.digits + "._-")
    assert name not in (".", "..")
    assert safe_name(name) == name


@given(st.text(max_size=100))
def test_split_lists_take_any_text(text: str) -> None:
    assert all(name.startswith("patient") for name in parse_split(text))


def test_split_list_as_published() -> None:
    assert parse_split("patient0001\r\npatient0047\n\n# note\n") == ["patient0001", "patient0047"]


def test_of_rows_that_disagree_only_what_they_agree_about_stays() -> None:
    """The first says EF 60 of 100 to 40 ml; a second row says 12 of the same volumes."""
    source = Source("d", Path())
    first: dict[str, object] = {"ef": 60.0, "edv": 100.0, "esv": 40.0, "split": "train"}
    source.settle(first, {**first, "ef": 12.0}, "t.csv:7")
    assert first == {"ef": None, "edv": 100.0, "esv": 40.0, "split": "train"}
    source.settle(first, dict(first), "t.csv:8")
    assert [(item.kind, item.item) for item in source.findings.items] == [
        ("rows_disagree", "t.csv:7"),
        ("duplicate_row", "t.csv:8"),
    ]
