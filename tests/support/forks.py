"""Python processes that are forked from one which has loaded other people's libraries.

A process of its own takes seconds to load torch and pandas. Our own modules are loaded by each
process anew, as they are where a user starts it. At its end all is done that Python does, but for
taking its modules apart: most of them are the parent's.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

LIBRARIES = (
    "torch", "torch._dynamo", "pandas", "pyarrow.parquet", "scipy.stats", "cv2", "timm", "pydicom",
    "pydantic", "typer", "rich.console", "safetensors.torch", "flwr.app", "flwr.clientapp",
    "flwr.superlink.grid.http_grid", "matplotlib.backends.backend_agg", "jinja2",
)  # fmt: skip
#: Variable of the environment by which a process, and all that it starts, can be found.
MARK = "ECHOFM_TEST_MARK"

PARENT = """
import atexit, ctypes, gc, importlib, json, os, signal, sys, threading, traceback

for name in sys.argv[2:]:
    importlib.import_module(name)
assert not {"echofm_core", "client", "server", "simulations"} & set(sys.modules)
gc.freeze()

def reap(*_):
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        os.write(1, b"ended %d %d\\n" % (pid, os.waitstatus_to_exitcode(status)))

signal.signal(signal.SIGCHLD, reap)
for line in sys.stdin:
    if os.fork():
        continue
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    asked = json.loads(line)
    if mark := asked["env"].get(sys.argv[1]):  # others read it where the system first put it
        libc = ctypes.CDLL(None)
        libc.getenv.restype = ctypes.c_void_p
        ctypes.memmove(libc.getenv(sys.argv[1].encode()), mark.encode(), 32)
    os.write(1, b"started %d\\n" % os.getpid())
    sys.stdin = open(os.devnull)
    os.dup2(sys.stdin.fileno(), 0)
    for number, file in ((1, asked["out"]), (2, asked["err"])):
        os.dup2(os.open(file, os.O_WRONLY | os.O_APPEND), number)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.argv = asked["words"]
    code = 1
    try:
        exec(asked["code"])
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
"""


#: Code that runs a module with the words given, as ``python -m`` does.
MODULE = """
import runpy, sys
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


class Fork:
    """A forked process, with what tests use of :class:`subprocess.Popen`; leads its own session."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._over = threading.Event()

    def ended(self, code: int) -> None:
        """It has ended, with this code."""
        self.returncode = code
        self._over.set()

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if not self._over.wait(timeout):
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Forks:
    """The process that all are forked from.

    Args:
        parent: Runs :data:`PARENT`.
    """

    def __init__(self, parent: subprocess.Popen[str]) -> None:
        assert parent.stdin and parent.stdout
        self._asked: IO[str] = parent.stdin
        self._said: IO[str] = parent.stdout
        self._running: dict[int, Fork] = {}
        self._started: queue.SimpleQueue[Fork] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def start(
        self,
        code: str,
        *words: object,
        cwd: Path | None = None,
        out: Path,
        err: Path | None = None,
        env: Mapping[str, str] = os.environ,
    ) -> Fork:
        """As ``python -c CODE WORDS`` does.

        Args:
            code: What it runs.
            words: Its arguments.
            cwd: Its folder; None: this one.
            out: File, already there, that its standard output is appended to.
            err: The same for its standard error; None: ``out``.
            env: Its environment.
        """
        asked = {
            "code": code, "words": ["-c", *map(str, words)], "cwd": str(cwd or Path.cwd()),
            "out": str(out), "err": str(err or out), "env": dict(env),
        }  # fmt: skip
        print(json.dumps(asked), file=self._asked, flush=True)
        return self._started.get(timeout=120)

    def end(self) -> None:
        """Kill what still runs."""
        for fork in list(self._running.values()):
            fork.kill()

    def _listen(self) -> None:
        for line in self._said:
            word, pid, *code = line.split()
            if word == "started":
                self._running[int(pid)] = Fork(int(pid))
                self._started.put(self._running[int(pid)])
            else:
                self._running.pop(int(pid)).ended(int(code[0]))


@contextmanager
def loaded() -> Iterator[Forks]:
    """Start the parent; it ends with the block, with all that still runs."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, MARK, *LIBRARIES],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, MARK: "0" * 32},
        start_new_session=True,
    )
    running = Forks(parent)
    try:
        yield running
    finally:
        running.end()
        parent.kill()
        parent.wait()
