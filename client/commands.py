"""Sub-commands of `echofm` that the client package contributes."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add this package's sub-commands."""
