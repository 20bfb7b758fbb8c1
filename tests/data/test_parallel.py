"""Worker processes that are killed: by a job, by the system, while they start."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from echofm_core.data.parallel import CHUNK, MANY, WINDOW, over_files, parallel_map
from echofm_core.data.readers._dicom import DIED, FileHeader, read_file_header
from echofm_core.data.readers._source import Refusal
from echofm_core.runtime.errors import DataRootError, StoreError
from tests.data.files import speckle, write_jpeg_cine


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_come_in_order(workers: int) -> None:
    assert list(parallel_map(_later, range(40), workers)) == list(range(40))
    assert list(parallel_map(_later, [], workers)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_a_job_that_kills_twice_is_none_and_harms_no_other(workers: int) -> None:
    results = list(parallel_map(_fatal, range(60), workers))
    assert results == [None if job in (7, 8, 50) else job for job in range(60)]


def test_a_job_that_kills_once_is_done_at_the_second_attempt(tmp_path: Path) -> None:
    assert list(parallel_map(partial(_fatal_once, tmp_path), range(20), 2)) == list(range(20))
    assert len((tmp_path / "attempts").read_text().split()) == 2


def test_the_second_attempt_has_the_machine_for_itself(tmp_path: Path) -> None:
    """Every job notes when it began and ended; nothing overlaps the second attempt at job 3."""
    list(parallel_map(partial(_noted, tmp_path), range(30), 3))
    spans = [tuple(map(float, file.read_text().split())) for file in tmp_path.glob("*.span")]
    begun, ended = map(float, (tmp_path / "3.span").read_text().split())
    others = [span for span in spans if span != (begun, ended)]
    assert len(others) == 29
    assert not [span for span in others if span[0] < ended and span[1] > begun]


def test_what_the_function_raises_is_raised() -> None:
    with pytest.raises(OSError, match="No space left"):
        list(parallel_map(_full, range(10), 2))


def test_a_process_that_cannot_start_is_one_sentence() -> None:
    with pytest.raises(StoreError, match="ended with code 1 as it started"):
        list(parallel_map(_Unloadable(), range(10), 2))


def test_jobs_are_taken_as_they_are_needed() -> None:
    """An endless list of jobs; when the first result is here, at most a window was taken."""
    taken: list[int] = []

    def endless() -> Iterator[int]:
        for number in range(10**9):
            taken.append(number)
            yield number

    results = parallel_map(_later, endless(), 2)
    assert next(results) == 0
    assert len(taken) <= 2 * WINDOW
    results.close()


def _later(job: int) -> int:
    time.sleep(0.002 * (job % 3))
    return job


def _fatal(job: int) -> int:
    if job in (7, 8, 50):
        os.kill(os.getpid(), signal.SIGKILL)
    return job


def _fatal_once(folder: Path, job: int) -> int:
    if job == 11:
        with (folder / "attempts").open("a") as attempts:
            attempts.write("x ")
        if (folder / "attempts").stat().st_size == 2:
            os.kill(os.getpid(), signal.SIGKILL)
    return job


def _noted(folder: Path, job: int) -> None:
    begun = time.monotonic()
    if job == 3 and not (folder / "died").exists():
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.02)
    (folder / f"{job}.span").write_text(f"{begun} {time.monotonic()}")


def _full(job: int) -> int:
    raise OSError(28, os.strerror(28))


class _Unloadable:
    """A function that no other process can load."""

    def __call__(self, job: int) -> int:
        return job

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return _fail_where_loaded, (str(os.getpid()),)


def _fail_where_loaded(parent: str) -> object:
    raise ImportError(f"made by {parent}, not here")


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
    see = partial(read_file_header, root=tmp_path)
    alone = [see(name) for name in names]
    first, *others = alone
    assert isinstance(first, FileHeader)
    assert (first.path, first.header.n_frames) == (str(tmp_path / "0.dcm"), 3)
    assert [other.kind for other in others if isinstance(other, Refusal)] == [
        "undecodable",
        "empty_file",
        "missing_file",
        "bad_path",
    ]
    repeats = MANY // len(names) + 1
    assert over_files(see, names * repeats, "reading headers", DIED) == alone * repeats
