"""The command line of a benchmark, named as it is called."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from echofm_core.runtime.errors import OutputError
from echofm_core.runtime.files import check_place


def command_line(description: str, *, lines: bool = False) -> argparse.ArgumentParser:
    """A parser whose usage begins with ``python -m benchmarks.NAME``.

    argparse takes the name of a file, of a package ``__main__.py``, which nobody can call so.

    Args:
        description: What the benchmark is.
        lines: Keep the lines of the description as they are.
    """
    spec = sys.modules["__main__"].__spec__  # of what -m runs; None for a file
    called = f"python -m {spec.name.removesuffix('.__main__')}" if spec else Path(sys.argv[0]).name
    form = argparse.RawDescriptionHelpFormatter if lines else argparse.HelpFormatter
    return argparse.ArgumentParser(prog=called, description=description, formatter_class=form)


def file_to_write(text: str) -> Path:
    """A file of the command line that is written at the end, refused at the beginning.

    Raises:
        argparse.ArgumentTypeError: Nothing can be written there.
    """
    try:
        check_place(file := Path(text), folder=False)
    except OutputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return file
