"""Other programs that must not outlive ours, however ours ends.

Each runs under a supervisor, ``python -m echofm_core.runtime.child_process COMMAND ...``, in a
session of its own. Whoever starts it holds its standard input open. That closes with its owner,
however the owner ends, and the supervisor then ends the program with all that it started; so it
does on SIGTERM and SIGINT.

What can still go wrong: a killed supervisor takes the program with it (Linux), but what that had
started in sessions of their own stays.
"""

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from echofm_core.runtime.errors import EnvironmentClashError

#: Seconds that a program and its children have to end by themselves.
GRACE = 2.0
#: Seconds after which a supervisor itself is killed; it takes fewer.
PATIENCE = 4.0
_PROC = Path("/proc/self/stat")
_ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def start(
    command: Sequence[str], env: Mapping[str, str], log: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a program under a supervisor; its output is appended to ``log``, else goes to ours."""
    supervised = [sys.executable, "-m", "echofm_core.runtime.child_process", *command]
    with log.open("ab") if log else nullcontext() as out:
        err = subprocess.STDOUT if log else None
        return subprocess.Popen(
            supervised,
            env=env,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )


def stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End started programs with all that they started; returns when they are gone."""
    for process in processes:
        if process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
    for process in processes:
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def child_process(
    command: Sequence[str], env: Mapping[str, str], log: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that ends with the block; arguments as of :func:`start`."""
    process = start(command, env, log)
    try:
        yield process
    finally:
        stop([process])


def tool(name: str) -> str:
    """Path of a program of this Python's environment.

    Raises:
        EnvironmentClashError: It is not installed beside this Python.
    """
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise EnvironmentClashError(
            f"{name} is not installed beside this Python; install flwr there."
        )
    return found


def flower_environment(home: Path) -> dict[str, str]:
    """Environment of a Flower process: its own home, nothing sent anywhere, nothing installed."""
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    }


def descendants() -> set[int]:
    """Ids of all running processes below this one."""
    parents = _parents()
    found, fresh = set[int](), {os.getpid()}
    while fresh:
        fresh = {child for child, parent in parents.items() if parent in fresh} - found
        found |= fresh
    return found


def kill_descendants() -> None:
    """Kill all processes below this one, whatever they do."""
    while left := descendants():
        for child in left:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def _supervise(command: list[str]) -> int:
    """Run a program until it ends or is to end; returns its exit code."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (*_ENDS, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)  # comes through the pipe
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)  # orphans below come to us
    program = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        # Not even a killed supervisor leaves the program behind; there is one thread.
        preexec_fn=die_with_parent,  # noqa: PLW1509
    )
    wanted = True
    while wanted and program.poll() is None:
        ready, _, _ = select.select([0, reader], [], [])
        wanted = 0 not in ready and not set(_ENDS) & set(os.read(reader, 64))
    _end_descendants()
    code = program.wait()
    return code if code >= 0 else 128 - code


def _end_descendants() -> None:
    """Ask all processes below to end, and see to it."""
    deadline = time.monotonic() + GRACE
    for child in descendants():
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)
    while descendants() and time.monotonic() < deadline:
        time.sleep(0.02)
    kill_descendants()


def die_with_parent() -> None:
    """Have the system kill this process once its parent has ended (Linux)."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    """Where there is such a thing: Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)


def _parents() -> dict[int, int]:
    """Process -> its parent; ended processes that wait to be reaped are left out."""
    if _PROC.exists():
        stats = (_stat(path) for path in Path("/proc").glob("[0-9]*/stat"))
        return {child: parent for child, parent, state in stats if state not in "ZX"}
    columns = ["ps", "-axo", "pid=,ppid=,stat="]
    with subprocess.Popen(columns, stdout=subprocess.PIPE, text=True) as listing:
        rows = [line.split() for line in listing.stdout or ()]
    found = {int(row[0]): int(row[1]) for row in rows if row[2][0] not in "ZX"}
    found.pop(listing.pid, None)
    return found


def _stat(path: Path) -> tuple[int, int, str]:
    """Process, parent, state; state X where the process has gone meanwhile."""
    try:
        # The name, in brackets, may hold anything.
        fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0, 0, "X"
    return int(path.parent.name), int(fields[1]), fields[0]


if __name__ == "__main__":
    sys.exit(_supervise(sys.argv[1:]))
