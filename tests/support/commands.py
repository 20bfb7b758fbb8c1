"""``echofm`` in real processes, forked from one that has loaded other people's libraries.

A process of its own takes seconds to load torch and pandas. Our own modules are loaded by each
command anew, as they are where a user starts it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

LIBRARIES = (
    "torch", "torch._dynamo", "pandas", "pyarrow.parquet", "scipy.stats", "cv2", "timm", "pydicom",
    "pydantic", "typer", "rich.console", "safetensors.torch",
)  # fmt: skip

PARENT = """
import gc, importlib, json, os, sys

for name in sys.argv[1:]:
    importlib.import_module(name)
assert not {"echofm_core", "client", "server", "simulations"} & set(sys.modules)
gc.freeze()
for line in sys.stdin:
    asked = json.loads(line)
    if child := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    sys.stdin = open(os.devnull)
    os.dup2(sys.stdin.fileno(), 0)
    for number, file in ((1, asked["out"]), (2, asked["err"])):
        os.dup2(os.open(file, os.O_WRONLY), number)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.argv = ["echofm", *asked["words"]]
    from echofm_core.cli import main

    main()
    break
"""


class Echofm(Protocol):
    """Runs ``echofm`` with words, in a folder, to its end; what it said and its exit code."""

    def __call__(
        self, *words: object, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]: ...


@contextmanager
def forked_commands() -> Iterator[Echofm]:
    """The process that all are forked from, and a way to ask it."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *LIBRARIES],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert parent.stdin and parent.stdout

    def echofm(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as err:
            told = [str(word) for word in words]
            asked = {
                "words": told, "cwd": str(cwd or Path.cwd()), "env": dict(os.environ),
                "out": out.name, "err": err.name,
            }  # fmt: skip
            print(json.dumps(asked), file=parent.stdin, flush=True)
            code = int(parent.stdout.readline())
            return subprocess.CompletedProcess(["echofm", *told], code, out.read(), err.read())

    try:
        yield echofm
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()
