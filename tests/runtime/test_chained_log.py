"""A log whose lines cannot be changed, taken out or moved without being seen."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echofm_core.runtime.chained_log import BrokenChainError, ChainedLog


def write(path: Path, count: int) -> ChainedLog:
    log = ChainedLog(path)
    for number in range(count):
        with log.writing():
            log.append({"number": number})
    return log


def test_records_come_back_in_order_with_the_same_head(tmp_path: Path) -> None:
    log = write(tmp_path / "log", 3)
    again = ChainedLog(tmp_path / "log")
    assert again.records == log.records == [{"number": 0}, {"number": 1}, {"number": 2}]
    assert again.head == log.head != ""


@pytest.mark.parametrize("number", range(3))
def test_a_line_taken_out_breaks_the_chain_but_for_the_last(tmp_path: Path, number: int) -> None:
    """The last can be cut off unseen, which only an earlier head tells: the module says so."""
    path = tmp_path / "log"
    head = write(path, 3).head
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:number] + lines[number + 1 :]))
    if number < 2:
        with pytest.raises(BrokenChainError):
            ChainedLog(path)
    else:
        assert ChainedLog(path).head != head


@given(position=st.integers(0), bit=st.integers(0, 7))
def test_no_bit_of_an_earlier_line_can_change(
    tmp_path_factory: pytest.TempPathFactory, position: int, bit: int
) -> None:
    path = tmp_path_factory.mktemp("chain") / "log"
    write(path, 3)
    content = bytearray(path.read_bytes())
    earlier = content.rfind(b"\n", 0, len(content) - 1)
    content[position % earlier] ^= 1 << bit
    path.write_bytes(bytes(content))
    with pytest.raises(BrokenChainError):
        ChainedLog(path)


@given(position=st.integers(0), bit=st.integers(0, 7))
def test_no_bit_of_any_line_can_change(
    tmp_path_factory: pytest.TempPathFactory, position: int, bit: int
) -> None:
    """The last one included, and the end of each line."""
    path = tmp_path_factory.mktemp("chain") / "log"
    write(path, 3)
    content = bytearray(path.read_bytes())
    line = content.count(b"\n", 0, position % len(content)) + 1
    content[position % len(content)] ^= 1 << bit
    path.write_bytes(bytes(content))
    with pytest.raises(BrokenChainError, match=f"line {line} "):
        ChainedLog(path)


def test_a_line_that_a_crash_cut_short_is_no_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "log"
    write(path, 2)
    with path.open("ab") as file:
        file.write(b'{"number": 2, "bef')
    log = ChainedLog(path)
    assert len(log.records) == 2
    with log.writing():
        log.append({"number": 7})
    assert [record["number"] for record in ChainedLog(path).records] == [0, 1, 7]


def test_writers_of_several_processes_make_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "log"
    program = (
        "import sys; from pathlib import Path\n"
        "from echofm_core.runtime.chained_log import ChainedLog\n"
        "log = ChainedLog(Path(sys.argv[1]))\n"
        "for number in range(20):\n"
        "    with log.writing(): log.append({'number': number})\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, str(path)]) for _ in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    numbers = [record["number"] for record in ChainedLog(path).records]
    assert sorted(numbers) == sorted(3 * list(range(20)))
    assert all("before" in json.loads(line) for line in path.read_bytes().splitlines())
