"""Many files at once: the results of the plain loop, in its order, whoever dies."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from echofm_core.data.file_kinds import Kind
from echofm_core.data.readers._dicom import DIED, Look, look
from echofm_core.data.readers._files import CHUNK, MANY, files_below, over_files
from echofm_core.data.readers._source import Refusal
from echofm_core.runtime.errors import DataRootError
from tests.data.files import speckle, write_jpeg_cine


def where(number: int) -> tuple[int, int]:
    """A number, and the process that saw it."""
    return number, os.getpid()


DEADLY = CHUNK + 5


def die(number: int) -> int:
    if number == DEADLY:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


class Unloadable:
    """A function that no other process can load."""

    def __call__(self, number: int) -> int:
        return number

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return fail_where_loaded, ("",)


def fail_where_loaded(_: str) -> object:
    raise ImportError


def test_few_files_stay_in_this_process() -> None:
    assert over_files(where, range(MANY), "counting", died=None) == [
        (i, os.getpid()) for i in range(MANY)
    ]


def test_many_files_are_shared_out_and_come_back_in_order(
    capsys: pytest.CaptureFixture[str],
) -> None:
    numbers = range(MANY + 77)
    found = over_files(where, numbers, "counting", died=None)
    assert [number for number, _ in found] == list(numbers)
    assert os.getpid() not in {process for _, process in found}
    assert f"counting: {len(numbers)}/{len(numbers)}" in capsys.readouterr().out


def test_a_file_that_kills_its_process_costs_no_other_its_result(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By real deaths; what stands for the file is in its place."""
    found = over_files(die, range(MANY + 1), "reading headers", died=-1)
    assert found == [-1 if number == DEADLY else number for number in range(MANY + 1)]
    assert f"reading headers: {MANY + 1}/{MANY + 1}" in capsys.readouterr().out


def test_processes_that_cannot_start_are_one_sentence() -> None:
    with pytest.raises(DataRootError, match="reading headers: a process ended as it started"):
        over_files(Unloadable(), range(MANY + 1), "reading headers", died=-1)


def test_headers_are_the_same_from_other_processes(tmp_path: Path) -> None:
    """A cine under many names, one that is not DICOM, one that is missing and one that is empty."""
    write_jpeg_cine(tmp_path / "0.dcm", speckle(3), FrameTime="20")
    (tmp_path / "1.dcm").write_bytes(b"junk" * 100)
    (tmp_path / "2.dcm").write_bytes(b"")
    names = ["0.dcm", "1.dcm", "2.dcm", "3.dcm", "../x.dcm"]
    see = partial(look, root=tmp_path)
    alone = [see(name) for name in names]
    first, *others = alone
    assert isinstance(first, Look)
    assert (first.path, first.header.n_frames) == (str(tmp_path / "0.dcm"), 3)
    assert [other.kind for other in others if isinstance(other, Refusal)] == [
        "undecodable",
        "empty_file",
        "missing_file",
        "bad_path",
    ]
    repeats = MANY // len(names) + 1
    assert over_files(see, names * repeats, "reading headers", DIED) == alone * repeats


def test_files_of_a_kind_below_a_folder(tmp_path: Path) -> None:
    """In the order of folders, not of text: `/` would come after `-`. Links are not entered."""
    (tmp_path / "b").mkdir()
    (tmp_path / "b-c").mkdir()
    for name in ("z.dcm", "b/1.DCM", "b-c/2.dcm", "b/no.txt"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert files_below(tmp_path, {Kind.DICOM}) == ["b/1.DCM", "b-c/2.dcm", "z.dcm"]
    assert files_below(tmp_path / "none", {Kind.DICOM}) == []
