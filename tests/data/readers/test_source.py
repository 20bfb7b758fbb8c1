from __future__ import annotations

import gzip
import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echofm_core.data.findings import Findings
from echofm_core.data.readers._source import (
    inside,
    integer,
    label,
    number,
    parse_table,
    positive,
    read_table,
    safe_name,
)
from echofm_core.data.readers.camus import parse_split
from echofm_core.errors import DataRootError
from echofm_core.tasks import Task


@given(st.text(max_size=400))
def test_any_text_is_a_table_or_one_error(text: str) -> None:
    try:
        table = parse_table("t.csv", text, ("a", "b"))
    except DataRootError as error:
        assert "t.csv" in str(error)
        return
    assert all({"a", "b"} <= set(row) for row in table.rows)


cells = st.text(string.ascii_letters + string.digits + ".-", min_size=1, max_size=6)


@given(st.lists(st.tuples(cells, cells), max_size=8), st.booleans())
def test_order_of_columns_does_not_matter(rows: list[tuple[str, str]], swapped: bool) -> None:
    lines = [("b", "A"), *((b, a) for a, b in rows)] if swapped else [("a", "B"), *rows]
    text = "".join(f"{first},{second}\r\n" for first, second in lines)
    table = parse_table("t.csv", text, ("a", "b"))
    assert [(row["a"], row["b"]) for row in table.rows] == rows


def test_tables_with_a_mark_short_rows_and_compression(tmp_path: Path) -> None:
    text = "\ufeffa,b,c\n1,2,3\n4\n\n"
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("t.csv", "t.csv.gz"):
        rows = read_table(tmp_path / name, ("a", "c")).rows
        assert rows == [{"a": "1", "b": "2", "c": "3"}, {"a": "4", "b": "", "c": ""}]
    with pytest.raises(DataRootError, match=r"lacks the columns \['d'\]"):
        read_table(tmp_path / "t.csv", ("d",))
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(text.encode())[:-9])
    with pytest.raises(DataRootError, match="cannot be read"):
        read_table(tmp_path / "t.csv.gz", ("a",))


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
    findings = Findings()
    value = label(text, Task.EF, "d", "row", findings)
    assert value is None or 0 <= value <= 100
    assert len(findings.items) <= (value is None)


@pytest.mark.parametrize("text", ["101", "-1", "nan", "many"])
def test_an_illegal_label_is_noted(text: str) -> None:
    findings = Findings()
    assert label(text, Task.EF, "d", "t.csv:3", findings) is None
    assert [(item.kind, item.item) for item in findings.items] == [
        ("label_out_of_range", "t.csv:3")
    ]


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
