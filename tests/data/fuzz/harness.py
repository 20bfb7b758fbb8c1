"""Mutated files through readers and decoders, in a process that may die, hang or swell.

A case is decided by format, seed and number. Its file takes the place of a sound one in a small
data root; the root is read by its reader, and the clips that come of it are decoded. What must hold
is in :mod:`tests.data.fuzz.promises`.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import pandas as pd
import pytest

from echofm_core.data.findings import Findings
from echofm_core.runtime.forks import fork_context, load_before_forks
from tests.data.fuzz.mutations import Mutator

#: Seconds a case may take, and a process to start and to plant its sound files; those for which it
#: waits for a processor do not count, for that is not the file's doing.
LONGEST, START = 5.0, 120.0
#: What every process loads: the worker, and libraries that readers load when they are asked.
LOADED = ("tests.data.fuzz.worker", "cv2", "pydicom", "pyarrow.parquet")
#: Cases a format that every run of the tests has, and at which its slow part ends.
FEW, MANY = 40, int(os.environ.get("ECHOFM_FUZZ", "100"))
SLOW = [pytest.mark.slow, pytest.mark.timeout(3600)]
#: The slow part goes on where the other ends: what a number stands for does not change.
parts = pytest.mark.parametrize(
    "numbers",
    [pytest.param(range(FEW), id="few"), pytest.param(range(FEW, MANY), marks=SLOW, id="many")],
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Seed:
    """A sound file in a data root.

    Attributes:
        file: What is mutated.
        root, read: The data root and its reader's ``read``.
    """

    file: Path
    root: Path
    read: Callable[[Path], tuple[pd.DataFrame, Findings]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """What is fuzzed.

    Attributes:
        name: Of the test module: ``test_NAME.py`` defines it as ``FORMAT``.
        plant: Writes sound files into an empty folder, equal ones each time.
        mutators: Changes that know the format.
        own: Share of those among all changes.
        secrets: Strings of the sound files that no message, finding or manifest may hold.
    """

    name: str
    plant: Callable[[Path], Sequence[Seed]]
    mutators: tuple[Mutator, ...]
    own: float = 0.5
    secrets: tuple[str, ...] = ()


@dataclass(slots=True)
class Report:
    """What became of the cases: how many read or refused, and the numbers of those that hurt."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0
    slowest: float = 0.0


def assert_harmless(format_: Format, numbers: range, seed: int = 0) -> None:
    """The cases of these numbers: each is read or refused, and none hurts."""
    report = run(format_.name, seed, numbers)
    assert not report.failures, "\n".join(report.failures[:10])
    assert report.outcomes.total() == len(numbers)


def run(name: str, seed: int, numbers: range) -> Report:
    """Run cases in processes that are replaced when they hurt themselves."""
    report, began, following = Report(), time.monotonic(), numbers
    while len(following):
        following = _run_one_process(name, seed, following, report)
    report.seconds = time.monotonic() - began
    return report


def _run_one_process(name: str, seed: int, numbers: range, report: Report) -> range:
    """Cases up to the first that ends the process; returns those after it."""
    from tests.data.fuzz.worker import work

    ours, theirs = multiprocessing.Pipe(duplex=False)
    load_before_forks(*LOADED)
    # mypy: the base class of contexts does not say that it has processes.
    process = fork_context().Process(  # type: ignore[attr-defined]
        target=work, args=(name, seed, numbers, theirs), daemon=True
    )
    process.start()
    theirs.close()
    try:
        if ended := _answer(ours, process, START).removeprefix("ready"):
            raise RuntimeError(f"the fuzzing process of {name} did not start: {ended}")
        for position, number in enumerate(numbers):
            began = time.monotonic()
            answer = _answer(ours, process, LONGEST)
            report.slowest = max(report.slowest, time.monotonic() - began)
            good = answer.partition(":")[0]
            report.outcomes[good] += 1
            if good not in ("read", "refused"):
                replay = f"python -m tests.data.fuzz {name} --seed {seed} --from {number} --count 1"
                report.failures.append(f"{answer}\n    {replay}")
            if good in ("hung", "crashed", "swollen"):
                return numbers[position + 1 :]
    finally:
        process.kill()
        process.join()
    return range(0)


def _answer(ours: Connection, process: multiprocessing.process.BaseProcess, patience: float) -> str:
    """What the process says of its next case, or what became of it."""
    began, before, spent = time.monotonic(), waits(process.pid), 0.0
    try:
        while not ours.poll(max(0.05, patience - spent)):
            # The thread that waited most: the others wait for it, or sleep.
            waited = [wait - before.get(of, 0.0) for of, wait in waits(process.pid).items()]
            spent = time.monotonic() - began - max(waited, default=0.0)
            if spent >= patience:
                return f"hung: no answer in {patience:g} s"
        return str(ours.recv())
    except EOFError:
        process.join()
        code = process.exitcode or 0
        return f"crashed: {signal.Signals(-code).name if code < 0 else f'exit code {code}'}"


def waits(pid: int | None) -> dict[str, float]:
    """Seconds for which each thread of a process was ready and had no processor, since it began.

    Empty where the system does not say.
    """
    found = {}
    for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):  # Linux
        with suppress(OSError, IndexError):  # a thread that has just ended
            found[file.parent.name] = int(file.read_text().split()[1]) / 1e9
    return found
