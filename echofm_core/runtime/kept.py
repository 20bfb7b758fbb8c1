"""Other programs that must not outlive ours, however ours ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

#: Seconds after which a keeper itself is ended; it takes fewer.
PATIENCE = 4.0


def start(
    command: Sequence[str], env: Mapping[str, str], log: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a program under a keeper (:mod:`echofm_core.runtime.keeper`), in a session of its own.

    Args:
        command: The program and its arguments.
        env: Its environment.
        log: Gets all that it says; without one it says it here.
    """
    kept = [sys.executable, "-m", "echofm_core.runtime.keeper", *command]
    if log is None:
        return subprocess.Popen(kept, env=env, stdin=subprocess.PIPE, start_new_session=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            kept,
            env=env,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End programs with all that they started; returns when they are gone."""
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
def kept(
    command: Sequence[str], env: Mapping[str, str], log: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that ends with the block; arguments as of :func:`start`."""
    process = start(command, env, log)
    try:
        yield process
    finally:
        stop([process])
