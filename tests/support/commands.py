"""``echofm`` in real processes (:mod:`tests.support.forks`)."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Protocol

from tests.support.forks import Forks

#: What the command is, as code.
ECHOFM = "import sys; sys.argv[0] = 'echofm'; from echofm_core.cli import main; main()"


class Echofm(Protocol):
    """Runs ``echofm`` with words, in a folder, to its end; what it said and its exit code."""

    def __call__(
        self, *words: object, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]: ...


def command(forks: Forks) -> Echofm:
    """The command, forked each time."""

    def echofm(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as err:
            process = forks.start(ECHOFM, *words, cwd=cwd, out=Path(out.name), err=Path(err.name))
            called = ["echofm", *map(str, words)]
            return subprocess.CompletedProcess(called, process.wait(), out.read(), err.read())

    return echofm
