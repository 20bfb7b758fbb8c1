"""The sheet of HMC-QU: a zip of XML, changed as a file and member by member."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import openpyxl
import pytest

from echofm_core.data.formats.sheet import MOST_COLUMNS, read_sheet
from echofm_core.data.readers.hmc_qu import HmcQuReader
from echofm_core.runtime.errors import DataRootError
from tests.data.files import speckle, write_avi
from tests.data.fuzz.harness import Format, Seed, assert_harmless, parts
from tests.data.fuzz.mutations import mutate, pick
from tests.data.fuzz.text import TEXT

#: XML that is small and would be large: entities of entities, a cell and a row at the far end.
GROWING = (
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "zzzzzzzzzz">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
    + b"]><worksheet>&j;</worksheet>",
    b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><worksheet>&x;</worksheet>',
)
CELLS = (
    b'r="XFD1048576"',
    b'r="A99999999999"',
    b'r="ZZZZZZ1"',
    b'r=""',
    b'r="B2"',
    b'r="A1048576"',
)


def plant(folder: Path) -> list[Seed]:
    (folder / "A4C").mkdir()
    for take in (1, 2):
        write_avi(folder / "A4C" / f"ES0001_4CH_{take}.avi", speckle(2, 16, 16))
    book = openpyxl.Workbook()
    book.active.append(["ECHO", "SEG1", "SEG2", "One cardiac-cycle frames"])
    book.active.append(["ES0001_4CH_1", "MI", "non-MI", 3])
    book.active.append(["ES0001_4CH_2", "non-MI", None, 4.5])
    stream = io.BytesIO()
    book.save(stream)
    (folder / "A4C.xlsx").write_bytes(_packed(_members(stream.getvalue())))
    return [Seed(file=folder / "A4C.xlsx", root=folder, read=HmcQuReader().read)]


def member(data: bytes, rng: np.random.Generator) -> bytes:
    """One member of the zip changed, gone, or grown."""
    members = _members(data)
    if not members:
        return data
    names = sorted(members)
    name = pick([*names, *[name for name in names if "sheet1" in name] * 8], rng)
    kind = int(rng.integers(10))
    if kind == 0:
        del members[name]
    elif kind == 1:
        members[name] = members[pick(names, rng)]
    elif kind == 2:
        members[name] = pick(GROWING, rng)
    elif kind == 3:
        cell = rb'r="A%d"' % int(rng.integers(1, 4))
        members[name] = members[name].replace(cell, pick(CELLS, rng))
    elif kind == 4 and rng.random() < 0.2:
        filler = pick((b" " * 2**26, b"<row/>" * 2**22, b"<c/>" * 2**22), rng)
        members[name] = members[name].replace(b"<sheetData>", b"<sheetData>" + filler)
    else:
        members[name] = mutate(members[name], members[pick(names, rng)], TEXT, rng)
    return _packed(members)


def _members(data: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            small = [item for item in archive.infolist() if item.file_size < 2**20]
            return {item.filename: archive.read(item) for item in small}
    except Exception:  # an earlier change broke it
        return {}


def _packed(members: dict[str, bytes]) -> bytes:
    """A zip that is the same each time: openpyxl writes dates."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            if name != "docProps/core.xml":
                archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


FORMAT = Format(name="xlsx", plant=plant, mutators=(member,))


@parts
def test_mutated(numbers: range) -> None:
    assert_harmless(FORMAT, numbers)


def test_a_workbook_that_unpacks_to_megabytes_is_refused(tmp_path: Path) -> None:
    (seed,) = plant(tmp_path)
    members = _members(seed.file.read_bytes())
    seed.file.write_bytes(_packed({**members, "xl/worksheets/sheet1.xml": b" " * 2**23}))
    assert seed.file.stat().st_size < 2**17
    with pytest.raises(DataRootError, match="unpacks to more than 4 MiB"):
        read_sheet(seed.file, ("ECHO",))


def test_a_cell_at_the_far_end_makes_no_row_of_its_length(tmp_path: Path) -> None:
    (seed,) = plant(tmp_path)
    members = _members(seed.file.read_bytes())
    name = "xl/worksheets/sheet1.xml"
    members[name] = members[name].replace(b'r="B2"', b'r="XFD2"')
    seed.file.write_bytes(_packed(members))
    rows = read_sheet(seed.file, ("ECHO",))
    assert [row["ECHO"] for row in rows] == ["ES0001_4CH_1", "ES0001_4CH_2"]
    assert max(map(len, rows)) <= MOST_COLUMNS
