"""Long tables row by row: any order of columns, packed or not, damage after what could be read."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from echofm_core.data.readers import _stream
from echofm_core.data.readers._stream import stream_columns
from echofm_core.runtime.errors import DataRootError

TEXT = '\ufeffA, b ,c\n1,2,3\n\n4,"5,\n5"\n\0 7 ,8,9,10\n'
ROWS = [("3", "1"), ("", "4"), ("9", "7")]


@pytest.mark.parametrize("packed", [False, True])
def test_columns_are_found_by_name(tmp_path: Path, packed: bool) -> None:
    """In the order asked for; a short row has blanks; the file's name does not matter."""
    file = tmp_path / "table.csv"
    file.write_bytes(gzip.compress(TEXT.encode()) if packed else TEXT.encode())
    assert list(stream_columns(file, ["C", "a"])) == ROWS


def test_a_large_table_shows_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Five megabytes that do not pack, taken for large: the last line says that all is read."""
    monkeypatch.setattr(_stream, "LARGE", 2)
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
