"""Tables out of spreadsheets of every country: the same cells, whatever stands between them."""

from __future__ import annotations

import gzip
import string
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echofm_core.data.readers import _tables
from echofm_core.data.readers._tables import parse_table, read_table, stream_columns
from echofm_core.runtime.errors import DataRootError


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


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_separators_and_encodings_are_found_out(
    tmp_path: Path, separator: str, encoding: str
) -> None:
    """Two columns that are wanted beside one whose name has a letter beyond ASCII."""
    lines = [("File", "Größe", "EF"), ("a.avi", "Müller", "55"), ("b.avi", "", "60")]
    text = "".join(separator.join(line) + "\r\n" for line in lines)
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    table = read_table(tmp_path / "t.csv", ("File", "EF", "Größe"))
    assert [tuple(row.values()) for row in table.rows] == lines[1:]
    words = {",": "", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}[separator]
    told = " ".join(table.form)
    assert words in told
    assert ("UTF-16" in told) == encoding.startswith("utf-16")
    assert ("Latin-1" in told) == (encoding == "cp1252")


def test_a_comma_inside_quotes_separates_nothing() -> None:
    table = parse_table("t.csv", 'File;EF;Note\na.avi;"55,5";"x;y"\n', ("File", "EF"))
    assert table.rows == [{"File": "a.avi", "EF": "55,5", "Note": "x;y"}]


def test_a_spreadsheet_may_say_what_separates() -> None:
    assert parse_table("t.csv", "sep=|\r\na|b\r\n1|2\r\n", ("a",)).rows == [{"a": "1", "b": "2"}]


def test_one_bad_byte_among_good_letters_is_damage_and_no_other_encoding(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("a,b\nÄÖÜ,x".encode() + b"\xff\n")
    assert read_table(tmp_path / "t.csv", ("a",)).rows == [{"a": "ÄÖÜ", "b": "x\ufffd"}]


def test_what_was_seen_is_named(tmp_path: Path) -> None:
    """And no cell of the first line, which may be a patient's."""
    with pytest.raises(DataRootError, match="2 cells between semicolons, as UTF-8") as caught:
        parse_table("t.csv", "Smith;4711\n", ("File",))
    assert "Smith" not in str(caught.value)
    (tmp_path / "t.xlsx").write_bytes(b"PK\x03\x04rest")
    with pytest.raises(DataRootError, match="is a workbook"):
        read_table(tmp_path / "t.xlsx", ("File",))
    with pytest.raises(DataRootError, match=r"the columns \['EF'\] twice"):
        parse_table("t.csv", "File,EF,ef\na,1,2\n", ("File", "EF"))


#: Tables of any length: any order of columns, packed or not, damage after what could be read.
LONG = '\ufeffA, b ,c\n1,2,3\n\n4,"5,\n5"\n\0 7 ,8,9,10\n'
FOUND = [("3", "1"), ("", "4"), ("9", "7")]


@pytest.mark.parametrize("packed", [False, True])
def test_columns_are_found_by_name(tmp_path: Path, packed: bool) -> None:
    """In the order asked for; a short row has blanks; the file's name does not matter."""
    file = tmp_path / "table.csv"
    file.write_bytes(gzip.compress(LONG.encode()) if packed else LONG.encode())
    assert list(stream_columns(file, ["C", "a"])) == FOUND


def test_a_large_table_shows_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Five megabytes that do not pack, taken for large: the last line says that all is read."""
    monkeypatch.setattr(_tables, "LARGE", 2)
    noise = np.random.default_rng(0).integers(0, 256, 5 << 19, dtype=np.uint8).tobytes().hex()
    lines = [noise[start : start + 50] for start in range(0, len(noise), 50)]
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress("\n".join(["a", *lines]).encode()))
    assert sum(1 for _ in stream_columns(tmp_path / "t.csv.gz", ["a"])) == len(lines)
    size = (tmp_path / "t.csv.gz").stat().st_size >> 20
    assert f"reading t.csv.gz (MB): {size}/{size}" in capsys.readouterr().out


def test_rows_before_the_damage_are_read(tmp_path: Path) -> None:
    file = tmp_path / "table.csv.gz"
    noise = np.random.default_rng(0).integers(0, 10**9, 100_000)
    packed = gzip.compress("\n".join(["a", *map(str, noise)]).encode())
    file.write_bytes(packed[: len(packed) // 2])
    rows: list[tuple[str, ...]] = []
    with pytest.raises(DataRootError, match=r"table table.csv.gz cannot be read \(EOFError\)"):
        for row in stream_columns(file, ["a"]):
            rows.append(row)
    assert 10_000 < len(rows) < 100_000
    assert [row for (row,) in rows] == [str(number) for number in noise[: len(rows)]]


@pytest.mark.parametrize("content", [b"", b"b,c\n1,2\n", bytes(range(256)) * 9, b'"' * 200_000])
def test_what_is_no_such_table_is_one_error(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes(content)
    with pytest.raises(DataRootError, match=r"t\.csv"):
        list(stream_columns(file, ["a"]))


@pytest.mark.parametrize("blank", [";;", ' ; ;""', "\t;;"])
def test_lines_of_separators_alone_are_no_rows(blank: str) -> None:
    """Spreadsheets write such lines for rows that were emptied."""
    text = f"{blank}\na;b;c\n1;2;3\n{blank}\n4;5;6\n{blank}\n{blank}\n"
    assert [row["a"] for row in parse_table("t", text, ("a", "b")).rows] == ["1", "4"]
