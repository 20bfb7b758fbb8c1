"""The command line of a benchmark, named as it is called."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


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
