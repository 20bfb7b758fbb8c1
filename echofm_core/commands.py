"""Sub-commands of `echofm` that the core contributes; each room has its own."""

from __future__ import annotations

import typer

from echofm_core.data import commands as data
from echofm_core.inference import commands as inference
from echofm_core.institution import commands as institution
from echofm_core.models import commands as models
from echofm_core.phantom import commands as phantom


def register(app: typer.Typer) -> None:
    """Add the core's sub-commands, from ``data`` to ``predict``."""
    for room in (data, inference, institution, models, phantom):
        room.register(app)
