"""The process in which mutated files are read: it may die, hang or swell, and is watched."""

from __future__ import annotations

import ctypes
import importlib
import os
import resource
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from echofm_core.runtime.randomness import stream
from tests.data.fuzz.harness import Format, Seed
from tests.data.fuzz.mutations import mutate, pick
from tests.data.fuzz.promises import Hurt, examine

#: Bytes of memory cases may take beside what the process began with, which is its parent's.
MOST = 3 * 2**28
#: Address space at which the process is stopped from hurting the machine.
WALL = 2**33


@dataclass(frozen=True, slots=True)
class Case:
    """A seed, and what it is mutated to."""

    seed: Seed
    data: bytes


def work(name: str, seed: int, numbers: range, answers: Connection) -> None:
    """Run cases, answering each with ``read``, ``refused: why`` or what was broken."""
    if sys.platform == "linux":  # elsewhere the system has no such limit
        resource.setrlimit(resource.RLIMIT_AS, (WALL, WALL))
    warnings.simplefilter("ignore", DeprecationWarning)  # of libraries among each other
    warnings.simplefilter("always", append=True)  # but for what is silenced where it is imported
    with tempfile.TemporaryDirectory() as folder, _printed() as printed:
        format_ = load(name)
        seeds = list(format_.plant(Path(folder)))
        sound = {one.file: one.file.read_bytes() for one in seeds}
        printed()
        own = _peak()
        answers.send("ready")
        for number in numbers:
            try:
                case = build(format_, seeds, sound, seed, number)
                answers.send(_run(format_, case, sound, printed, own + MOST))
            except Exception as error:  # of the harness itself
                answers.send(f"no case: {type(error).__name__}: {error}")


def load(name: str) -> Format:
    module = importlib.import_module(f"tests.data.fuzz.test_{name}")
    found: Format = module.FORMAT
    return found


def build(
    format_: Format, seeds: list[Seed], sound: dict[Path, bytes], seed: int, number: int
) -> Case:
    """The case of a number; equal on every machine."""
    rng = stream(seed, format_.name, number, "fuzz")
    chosen, other = pick(seeds, rng), pick(seeds, rng)
    data, tail = sound[chosen.file], sound[other.file]
    return Case(chosen, mutate(data, tail, format_.mutators, rng, format_.own))


def _run(
    format_: Format, case: Case, sound: dict[Path, bytes], printed: Callable[[], str], most: int
) -> str:
    case.seed.file.write_bytes(case.data)
    try:
        answer = examine(format_, case.seed)
    except Hurt as hurt:
        answer = f"broke: {hurt}"
    except BaseException as error:  # whatever it is, it should not have come out
        answer = f"raised: {type(error).__name__}: {error}"[:500]
    case.seed.file.write_bytes(sound[case.seed.file])
    if text := printed():
        answer = f"printed: {text[:300]!r}"
    if (peak := _peak()) > most:
        answer = f"swollen: {peak / 2**30:.2f} GiB at most"
    return answer


def _peak() -> int:
    """Bytes of memory this process has held at most.

    On Linux not by ``getrusage``, whose maximum comes along from the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@contextmanager
def _printed() -> Iterator[Callable[[], str]]:
    """Standard output and error, of C libraries too, caught; gives what came since last asked."""
    with tempfile.TemporaryFile() as caught:
        for stream_ in (1, 2):
            os.dup2(caught.fileno(), stream_)
        libc = ctypes.CDLL(None)

        def since() -> str:
            sys.stdout.flush()
            sys.stderr.flush()
            libc.fflush(None)
            caught.seek(0)
            text = caught.read().decode(errors="replace")
            caught.seek(0)
            caught.truncate()
            return text

        yield since
