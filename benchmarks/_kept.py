"""Figures that a benchmark keeps in ``benchmarks/results``, and the page to read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from benchmarks._rows import Row, lines_of

#: Where ``--keep`` leaves the figures.
KEPT = Path(__file__).parent / "results"


def keep(
    file: Path, context: Mapping[str, str], rows: Sequence[Row], tables: Mapping[str, pd.DataFrame]
) -> None:
    """Write conditions, judged rows and every table of figures as JSON."""
    found = {
        name: json.loads(frame.round(9).to_json(orient="split", index=False))
        for name, frame in tables.items()
    }
    values = {"context": dict(context), "bars": [row.as_json() for row in rows], **found}
    lines = json.dumps(values).replace("], [", "],\n[").replace("}, {", "},\n{")
    file.parent.mkdir(exist_ok=True)
    file.write_text(lines + "\n", encoding="utf-8")


def kept(file: Path) -> tuple[dict[str, str], dict[str, pd.DataFrame]]:
    """What :func:`keep` wrote: the conditions, and name -> table.

    Raises:
        FileNotFoundError: Nothing is kept yet.
    """
    values = json.loads(file.read_text(encoding="utf-8"))
    context = values.pop("context")
    values.pop("bars")
    tables = {
        name: pd.DataFrame(found["data"], columns=found["columns"])
        for name, found in values.items()
    }
    return context, tables


def page_of(
    title: str, context: Mapping[str, str], note: str, table: str, rows: Sequence[Row]
) -> str:
    """The page to read, Markdown."""
    return f"# {title}\n\n{head_of(context)}\n\n{note}\n\n```\n{table}\n\n{lines_of(rows)}\n```\n"


def head_of(context: Mapping[str, str]) -> str:
    """Conditions as a list."""
    return "\n".join(f"- {name}: {words}" for name, words in context.items())
