"""Every table that a reader reads, in phantoms of every layout and of a hospital's export."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
import pytest

from echofm_core.data.readers._tables import read_table
from echofm_core.data.readers.registry import READERS
from echofm_core.phantom.institutions import Layout, write_institutions
from echofm_core.runtime.errors import DataRootError
from tests.data.fuzz.harness import Format, Seed, assert_harmless, parts
from tests.data.fuzz.mutations import pick
from tests.data.fuzz.text import TEXT

#: Read by no reader.
UNREAD = ("SHA256SUMS.txt", "unlabeledpart.csv", "fold1_labeledpart.csv", "fold2_labeledpart.csv")
CELLS = (
    b"",
    b'"',
    b'""',
    b'"a\nb"',
    b"\0",
    b"nan",
    b"-1",
    b"1e39",
    b"9999999999",
    b"TRAIN",
    b"a" * 300_000,
)


def plant(folder: Path) -> list[Seed]:
    seeds = []
    for layout in Layout:
        for root in write_institutions(folder / layout.value, {layout: 1}, seed=1):
            (reader,) = [reader for reader in READERS if reader.find(root)]
            tables = sorted(file for file in root.rglob("*") if ".csv" in file.name)
            seeds += [
                Seed(file=file, root=root, read=reader.read)
                for file in tables
                if not file.name.endswith(UNREAD)
            ]
    return seeds


def change_cell(data: bytes, rng: np.random.Generator) -> bytes:
    """A cell is emptied, set to what is none, or exchanged for another one of the table."""
    lines = [line.split(b",") for line in data.split(b"\n")]
    line, other = pick(lines, rng), pick(lines, rng)
    line[int(rng.integers(len(line)))] = pick((*CELLS, pick(other, rng)), rng)
    return b"\n".join(b",".join(cells) for cells in lines)


def add_column(data: bytes, rng: np.random.Generator) -> bytes:
    """One more cell in every line, one less, or thousands in the header alone."""
    lines = data.split(b"\n")
    kind = int(rng.integers(3))
    if kind == 0:
        return b"\n".join(line + b",x" for line in lines)
    if kind == 1:
        return b"\n".join(line.partition(b",")[2] for line in lines)
    lines[0] += b"".join(b",c%d" % number for number in range(20_000))
    return b"\n".join(lines)


def pack(data: bytes, rng: np.random.Generator) -> bytes:
    """Packed, whatever its name says; packed to a bomb; unpacked."""
    if data[:2] == b"\x1f\x8b":
        try:
            return zlib.decompressobj(31).decompress(data, 2**20)
        except zlib.error:
            return data
    if rng.random() < 0.1:
        data += bytes(2**26) if rng.random() < 0.5 else b"1,\n" * 2**22
    return gzip.compress(data, 1, mtime=0)


FORMAT = Format(
    name="csv", plant=plant, own=0.8, mutators=(*TEXT, *[change_cell] * 5, add_column, pack)
)


@parts
def test_mutated(numbers: range) -> None:
    assert_harmless(FORMAT, numbers)


@pytest.mark.parametrize(
    "content",
    [
        b"a," + b",".join(b"c%d" % number for number in range(20_000)) + b"\n1" * 1000,
        b"a\n" + b"1\n" * 2**20,
        gzip.compress(b"a\n" + bytes(2**25), 1),
        b'a\n"' + b"1" * 200_000,
    ],
    ids=[
        "twenty million cells of 100 kB",
        "too many rows",
        "32 MB of 32 kB",
        "a field without end",
    ],
)
def test_a_table_that_grows_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(DataRootError, match=r"table\.csv"):
        read_table(tmp_path / "table.csv", ("a",))


def test_a_path_longer_than_any_is_a_finding(tmp_path: Path) -> None:
    (root,) = write_institutions(tmp_path / "roots", {Layout.OWN_FILES: 1}, seed=1)
    (reader,) = [reader for reader in READERS if reader.find(root)]
    table = root / "export.csv"
    table.write_text(table.read_text().replace("cines/", "cines/" + "x" * 3000, 1))
    assert "missing_file" in reader.read(root)[1].table()["kind"].tolist()
