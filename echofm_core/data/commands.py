"""Sub-commands of `echofm` for this room. Heavy imports stay inside the functions."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add this room's sub-commands."""
