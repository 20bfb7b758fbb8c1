"""The one form in which every benchmark reports: what, ours, peer, ratio, bar, holds."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks._command import command_line, file_to_write
from echofm_core.runtime.files import write_whole

HEADINGS = ("what", "ours", "peer", "ratio", "bar", "holds")


@dataclass(frozen=True, slots=True)
class Bar:
    """What a row is held to: ``at most``, ``at least`` or ``exactly`` a limit."""

    kind: Literal["at most", "at least", "exactly"]
    limit: float

    def holds(self, value: float) -> bool:
        """True where the value meets the bar; a NaN never does."""
        if self.kind == "at most":
            return value <= self.limit
        return value >= self.limit if self.kind == "at least" else value == self.limit

    def __str__(self) -> str:
        return f"{self.kind} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement.

    Attributes:
        what: What was measured, unit included.
        ours: Our figure.
        peer: The peer's; without one the bar judges ``ours`` and not the ratio.
        bar: What it is held to; None: for information.
    """

    what: str
    ours: float
    peer: float | None = None
    bar: Bar | None = None

    @property
    def ratio(self) -> float | None:
        """Ours over the peer's."""
        if self.peer is None:
            return None
        return self.ours / self.peer if self.peer else float("nan")

    @property
    def holds(self) -> bool | None:
        """Whether the bar is met; None without a bar."""
        if self.bar is None:
            return None
        return self.bar.holds(self.ours if self.ratio is None else self.ratio)

    def as_json(self) -> dict[str, object]:
        """The row under :data:`HEADINGS`."""
        bar = str(self.bar) if self.bar else None
        values = (self.what, self.ours, self.peer, self.ratio, bar, self.holds)
        return dict(zip(HEADINGS, values, strict=True))


def report(rows: Sequence[Row], json_file: Path | None = None) -> int:
    """Print rows as a table, write them as JSON if asked, and return the exit code.

    Args:
        rows: At least one.
        json_file: Where the same rows go.

    Returns:
        1 where a bar is missed, else 0.
    """
    print(lines_of(rows))
    if json_file is not None:
        text = json.dumps([row.as_json() for row in rows], indent=2)
        write_whole(json_file, f"{text}\n".encode())
    return int(any(row.holds is False for row in rows))


def lines_of(rows: Sequence[Row]) -> str:
    """Rows as a table of text."""
    cells = [HEADINGS, *(tuple(map(_cell, row.as_json().values())) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(
            text.ljust(width) if column == 0 else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    )


def _cell(value: object) -> str:
    """A value as the table shows it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def parser(description: str) -> argparse.ArgumentParser:
    """Command line of a benchmark: ``--json FILE``; a benchmark may add its own options."""
    arguments = command_line(description)
    arguments.add_argument(
        "--json", type=file_to_write, metavar="FILE", help="write the rows here too"
    )
    return arguments


def finish(rows: Sequence[Row], json_file: Path | None) -> None:
    """Report and end the process with the exit code of :func:`report`."""
    sys.exit(report(rows, json_file))
